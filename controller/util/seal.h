/*
 * Secrets at rest: AES-256-GCM under a key file that only its owner reads.  The
 * context (table, column, id) is authenticated, so that a sealed value moved to
 * another row does not open.
 */
#pragma once
#include "cleanup.h"
#include "error.h"
#include <stdbool.h>
#include <stddef.h>

struct seal;

/* Reads path, or makes it (0600) with a new key; refuses one that others may read. */
struct seal *seal_open(const char *path, struct error *err);
void seal_close(struct seal *seal);

/* "v1." and base64; free() it. */
char *seal_text(const struct seal *seal, const char *context, const char *plain,
    struct error *err);

/* The plain text, to be freed with seal_wipe(). */
char *unseal_text(const struct seal *seal, const char *context,
    const char *sealed, struct error *err);

/* Cleanses and frees; NULL is fine. */
void seal_wipe(char *plain);

CLEANUP_FUNC(secret, char *, seal_wipe)
