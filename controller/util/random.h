/* Random values and the text forms that ids, keys and fingerprints take. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* n random bytes as lower-case hex; out holds 2 n + 1. */
bool random_hex(char *out, size_t n);

/* SHA-256 of text as lower-case hex; out holds 65. */
void sha256_hex(const void *data, size_t len, char *out);
