/* Sealing keys: which one seals, and that nothing is left to the one before. */
#pragma once
#include "core.h"

/* At start: the key that seals is that of the database; refused when the file lacks
 * it, or one that values need. */
bool seal_keys_start(const struct core *c, struct seal *seal, const char *path,
    struct error *err);

/* Now and then, in each process: keys that the file has now, the key that seals
 * now, and which keys this process has. */
bool seal_keys_follow(const struct core *c, struct seal *seal, const char *path,
    const char *process, struct error *err);

/* The key seals from now on, in every process; CONFLICT when one does not have it. */
bool seal_keys_use(const struct core *c, const char *id, struct error *err);

/* Some of the values that another key has sealed are sealed again; *rows: how many. */
bool seal_keys_again(const struct core *c, int *rows, struct error *err);
