/* checks_internal.h: what texts of the configuration must look like. Each is a setting_check. */
#ifndef LOOMGATE_CONFIG_CHECKS_INTERNAL_H
#define LOOMGATE_CONFIG_CHECKS_INTERNAL_H

#include "loomgate/config/schema.h"

setting_check check_token;           /* a field's name, a cookie's name */
setting_check check_method;          /* GET, not get */
setting_check check_response_header; /* a field's name that a fixed answer may have */
setting_check check_field_value;     /* no control characters */
setting_check check_host;            /* example.com, *.example.com, 127.0.0.1, [::1] */
setting_check check_path;            /* /a/b */
setting_check check_target;          /* /a/b?c: of a request that LoomGate makes itself */
setting_check check_probe_method;    /* one that a check may use */
setting_check check_probe_bytes;     /* what a check sends or awaits */
setting_check check_authority;       /* example.com:8080, for a Host field */
setting_check check_template;        /* https://%{host}%{uri} */
setting_check check_absolute_path;   /* of the file system */
setting_check check_file_mode;       /* 0600 */
setting_check check_socket_path;     /* not longer than the system allows */
setting_check check_hash_key;        /* source, header:X-Tenant */
setting_check check_load_bound;      /* 1.25 */

#endif
