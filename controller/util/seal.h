/*
 * Secrets at rest: AES-256-GCM under a key of a file that only its owner reads.
 * The context (table, column, id) is authenticated, so that a sealed value moved
 * to another row does not open.  The file has one key, or several while one takes
 * the place of another: each opens what it has sealed, one of them seals.
 */
#pragma once
#include "cleanup.h"
#include "error.h"
#include <stdbool.h>
#include <stddef.h>

#define SEAL_KEY       32
#define SEAL_KEYS_MAX  8
#define SEAL_ID        9          /* of a key: eight hex digits, and a NUL */

struct seal;

/* Reads path, or makes it (0600) with a new key; refuses one that others may read. */
struct seal *seal_open(const char *path, struct error *err);
void seal_close(struct seal *seal);

/* Keys that the file has now besides open as well; none is forgotten.  By one
 * thread at a time. */
bool seal_reload(struct seal *seal, const char *path, struct error *err);

/* The key of this id seals from now on; false when there is none. */
bool seal_use(struct seal *seal, const char *id);

/* Whether it is that one that seals. */
bool seal_seals_with(const struct seal *seal, const char *id);

/* The id of key i, in the file's order; false behind the last. */
bool seal_key_id(const struct seal *seal, int i, char id[SEAL_ID]);

/* "v2.", the key's id, "." and base64; free() it. */
char *seal_text(const struct seal *seal, const char *context, const char *plain,
    struct error *err);

/* The plain text, to be freed with seal_wipe(). */
char *unseal_text(const struct seal *seal, const char *context,
    const char *sealed, struct error *err);

/* Cleanses and frees; NULL is fine. */
void seal_wipe(char *plain);

CLEANUP_FUNC(secret, char *, seal_wipe)

/*
 * seal_file.c: the file.  The keys of path, SEAL_KEY bytes each; their number, 0
 * with the error.
 */
int seal_file_read(const char *path, unsigned char keys[SEAL_KEYS_MAX][SEAL_KEY],
    struct error *err);
void seal_file_id(const unsigned char key[SEAL_KEY], char id[SEAL_ID]);

/* A first key, unless the file is there; one more behind the others, whose id is
 * written to id; one less.  The file is replaced as a whole. */
bool seal_file_make(const char *path, struct error *err);
bool seal_file_add(const char *path, char id[SEAL_ID], struct error *err);
bool seal_file_drop(const char *path, const char *id, struct error *err);
