/* The PROXY protocol at a connection's start, versions 1 and 2. */
#ifndef ORIGIN_PROXY_LINE_H
#define ORIGIN_PROXY_LINE_H

#include <stddef.h>

#include "text.h"

/* Reads a header from the first `len` bytes and writes it to `out` as one line without an end: "v1 TCP4 SOURCE
   DESTINATION SPORT DPORT", "v2 TCP6 ...", "v2 UNIX SOURCE DESTINATION", "v2 LOCAL", "v1 UNKNOWN", ...
   Returns its length in bytes, 0 when more bytes are needed, -1 when it is none. */
long proxy_line_read(const char *bytes, size_t len, struct text *out);

#endif
