/* SHA-1 and base64 for the WebSocket handshake, Adler-32 for what /sink received. */
#ifndef ORIGIN_DIGEST_H
#define ORIGIN_DIGEST_H

#include <stddef.h>
#include <stdint.h>

void sha1(const void *bytes, size_t len, uint8_t digest[20]);

/* Writes 4 * ceil(len / 3) characters and a NUL. */
void base64(const uint8_t *bytes, size_t len, char *out);

/* Continues a sum that started as 1; the same numbers as Python's zlib.adler32. */
uint32_t adler32(uint32_t sum, const void *bytes, size_t len);

#endif
