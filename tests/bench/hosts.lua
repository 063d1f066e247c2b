-- Requests to a hundred hosts in turn: tests/bench/scaled.py has the routes.
local requests, count = {}, 0

init = function()
    for host = 0, 99 do
        requests[host] = wrk.format("GET", nil, { Host = "shop" .. host .. ".example" })
    end
end

request = function()
    count = count + 1
    return requests[count % 100]
end
