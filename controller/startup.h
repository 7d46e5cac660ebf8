/* What a start finds or makes: data directory, database, CAs, the first key. */
#pragma once
#include "conf.h"
#include "core.h"
#include "error.h"

struct startup {
    int                 lock;        /* of the data directory */
    struct seal        *seal;
    char                seal_path[600];
    struct db_cluster  *cluster;     /* NULL with an outside database */
    struct db          *db;          /* the main thread's */
    const char         *conninfo;
};

/* All of it, in order; safe to repeat after a kill at any moment. */
bool startup_run(struct startup *s, const struct conf *conf, struct error *err);
void startup_end(struct startup *s);

/* The main thread as an actor. */
struct core startup_core(const struct startup *s);

/* Writes text to <data_dir>/<name> so that it appears whole or not at all. */
bool startup_write(const struct conf *conf, const char *name, const char *text,
    struct error *err);
