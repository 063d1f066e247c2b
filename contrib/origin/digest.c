/* SHA-1 (FIPS 180-4), base64 (RFC 4648) and Adler-32 (RFC 1950): small rather than fast. */
#include "digest.h"

#include <string.h>

static uint32_t rotate(uint32_t x, int by) {
    return x << by | x >> (32 - by);
}

static void sha1_block(uint32_t h[5], const uint8_t *block) {
    uint32_t w[80];
    for (int i = 0; i < 16; i++) {
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
               (uint32_t)block[4 * i + 3];
    }
    for (int i = 16; i < 80; i++) {
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    }
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999U
                     : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1U
                     : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdcU
                              : (b ^ c ^ d) + 0xca62c1d6U;
        uint32_t next = rotate(a, 5) + f + e + w[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

void sha1(const void *bytes, size_t len, uint8_t digest[20]) {
    uint32_t h[5] = {0x67452301U, 0xefcdab89U, 0x98badcfeU, 0x10325476U, 0xc3d2e1f0U};
    const uint8_t *at = bytes;
    size_t left = len;
    for (; left >= 64; at += 64, left -= 64) {
        sha1_block(h, at);
    }
    uint8_t tail[128] = {0};
    memcpy(tail, at, left);
    tail[left] = 0x80;
    size_t size = left < 56 ? 64 : 128;
    for (size_t i = 0; i < 8; i++) {
        tail[size - 1 - i] = (uint8_t)((uint64_t)len * 8 >> (8 * i));
    }
    for (size_t i = 0; i < size; i += 64) {
        sha1_block(h, tail + i);
    }
    for (int i = 0; i < 20; i++) {
        digest[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
    }
}

void base64(const uint8_t *bytes, size_t len, char *out) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        uint32_t three = (uint32_t)bytes[i] << 16;
        three |= i + 1 < len ? (uint32_t)bytes[i + 1] << 8 : 0;
        three |= i + 2 < len ? (uint32_t)bytes[i + 2] : 0;
        *out++ = digits[three >> 18];
        *out++ = digits[three >> 12 & 63];
        *out++ = i + 1 < len ? digits[three >> 6 & 63] : '=';
        *out++ = i + 2 < len ? digits[three & 63] : '=';
    }
    *out = '\0';
}

uint32_t adler32(uint32_t sum, const void *bytes, size_t len) {
    const uint8_t *at = bytes;
    uint32_t a = sum & 0xffff, b = sum >> 16;
    while (len > 0) {
        size_t run = len < 5552 ? len : 5552; /* the most that cannot overflow b */
        for (size_t i = 0; i < run; i++) {
            a += at[i];
            b += a;
        }
        a %= 65521;
        b %= 65521;
        at += run;
        len -= run;
    }
    return b << 16 | a;
}
