/* Strict PEM (RFC 7468) for this room: named blocks, white space, nothing else. */
#pragma once
#include <stddef.h>

/*
 * Reads the next block of [*pos, end) into *der, which is OPENSSL_malloc'ed and
 * to be freed with OPENSSL_clear_free, and moves *pos behind it. label says what
 * was found. Returns 1; 0 when only white space is left; -1 with the rule in *why.
 */
int certctl_pem_next(const char **pos, const char *end, char label[32],
    unsigned char **der, size_t *len, const char **why);
