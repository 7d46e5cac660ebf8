/* API keys: made here, shown once, kept as hashes. */
#pragma once
#include "db.h"
#include "error.h"
#include <jansson.h>
#include <stdbool.h>

#define API_KEY_PREFIX  "certctl_"
#define API_KEY_MAX     80            /* "certctl_", 64 hex digits, NUL */

/* A new key into text; wipe it with OPENSSL_cleanse when it was shown. */
bool api_key_make(char text[API_KEY_MAX], struct error *err);

/* What is kept of one: 64 hex digits. */
void api_key_hash(const char *text, char hash[65]);

/*
 * Without an unrevoked key that may do everything: makes one and writes it to
 * path (0600), which appears whole or not at all.
 */
bool api_key_bootstrap(struct db *db, const char *path, struct error *err);
