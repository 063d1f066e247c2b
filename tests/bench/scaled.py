"""LoomGates with many servers and many routes.

Routes are spread over a hundred hosts; those of a host differ by their path, and the last one of each takes the
requests, which go to all hosts in turn (hosts.lua).
"""

import contestants as field

SERVERS_MOST, ROUTES_MOST = 1000, 10000
HOSTS_COUNT = 100
PATH = "/size/1k"
HOSTS = ("-s", str(field.HERE / "hosts.lua"))
WARM_SECONDS = 1


class LoomgateScaled(field.Loomgate):
    """All servers are the one origin, by other names."""

    def __init__(self, build, servers=1, routes=1):
        super().__init__(build)
        self.server_count, self.route_count = servers, routes

    def servers(self, origin):
        return [f'{{name: s{i}, address: "127.0.0.1:{origin}"}}' for i in range(self.server_count)]

    @property
    def routes(self):
        if self.route_count < HOSTS_COUNT:
            return ["{match: {path_prefix: /size}, backend: app}"] * self.route_count
        paths = [f"p{i}" for i in range(self.route_count // HOSTS_COUNT - 1)] + ["size"]
        return [f"{{match: {{host: shop{host}.example, path_prefix: /{path}}}, backend: app}}"
                for host in range(HOSTS_COUNT) for path in paths]


class LoomgateSmall(LoomgateScaled):
    name = "1 server, 1 route"


class LoomgateLarge(LoomgateScaled):
    name = f"{SERVERS_MOST:,} servers, {ROUTES_MOST:,} routes"

    def __init__(self, build):
        super().__init__(build, SERVERS_MOST, ROUTES_MOST)
