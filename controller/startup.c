/* Makes what a first start lacks, and finds it again at the next. */
#include "startup.h"

#include "api_key.h"
#include "fleet.h"
#include "issuers.h"
#include "sql_trust.h"
#include "sql_migration.h"
#include "sql_pki.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define STARTUP_PATH_MAX  600

static void
startup_path(const struct conf *conf, const char *name, char *out)
{
    snprintf(out, STARTUP_PATH_MAX, "%s/%s", conf->data_dir, name);
}

/* PostgreSQL's user must be able to reach its own folder inside: 0711. */
static bool
startup_folder(struct startup *s, const struct conf *conf, struct error *err)
{
    char  path[STARTUP_PATH_MAX];

    if (mkdir(conf->data_dir, 0711) != 0 && errno != EEXIST) {
        return error_set(err, ERR_INVALID, "data_dir %s: %s", conf->data_dir,
                         strerror(errno));
    }

    startup_path(conf, "lock", path);
    s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (s->lock < 0) {
        return error_set(err, ERR_INVALID, "%s: %s", path, strerror(errno));
    }

    return flock(s->lock, LOCK_EX | LOCK_NB) == 0
           || error_set(err, ERR_CONFLICT, "another certctld runs in %s",
                        conf->data_dir);
}

static bool
startup_database(struct startup *s, const struct conf *conf, struct error *err)
{
    s->conninfo = conf->database;

    if (*conf->database == '\0') {
        s->cluster = db_cluster_start(conf->data_dir, err);
        if (s->cluster == NULL) {
            return false;
        }
        s->conninfo = db_cluster_conninfo(s->cluster);
    }

    s->db = db_open(s->conninfo, err);

    return s->db && db_migrate(s->db, err);
}

struct core
startup_core(const struct startup *s)
{
    return (struct core) {
        .db = s->db, .seal = s->seal, .actor = "system", .actor_type = "System",
    };
}

/* The fleet CA's key is the first sealed value that a start opens. */
static bool
startup_fleet(const struct core *c, const struct conf *conf, struct error *err)
{
    struct error  fault = { 0 };

    if (fleet_ensure(c, &fault)) {
        return true;
    }

    if (fault.code != ERR_INTERNAL) {
        *err = fault;
        return false;
    }

    return error_set(err, ERR_INVALID, "%s/seal.key is not the key that the database was "
                     "sealed with: bring that one back from the backup (%.200s)",
                     conf->data_dir, fault.detail);
}

/* Replicas may start together for the first time: one of them makes the CAs. */
static bool
startup_authorities(struct startup *s, const struct conf *conf,
    struct error *err)
{
    struct core                c = startup_core(s);
    CLEANUP(db_tx) struct db  *tx = NULL;

    if (!db_begin(s->db, err)) {
        return false;
    }

    tx = s->db;

    return DB_RUN(s->db, err, SQL_MIGRATION_LOCK)
           && startup_fleet(&c, conf, err)
           && issuers_ensure_local(&c, conf->pki_url, err)
           && DB_RUN(s->db, err, SQL_CRL_CHANGES_ALL)
           && db_commit(s->db, err);
}

bool
startup_write(const struct conf *conf, const char *name, const char *text,
    struct error *err)
{
    char             path[STARTUP_PATH_MAX], fresh[STARTUP_PATH_MAX + 8];
    size_t           len = strlen(text);
    CLEANUP(fd) int  fd = -1;

    startup_path(conf, name, path);
    snprintf(fresh, sizeof(fresh), "%s.new", path);

    fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    return (fd >= 0 && write(fd, text, len) == (ssize_t) len && fsync(fd) == 0
            && rename(fresh, path) == 0)
           || error_set(err, ERR_UNAVAILABLE, "%s: %s", path, strerror(errno));
}

static bool
startup_trust(struct startup *s, const struct conf *conf, struct error *err)
{
    struct core        c = startup_core(s);
    CLEANUP(mem) char  *ca = fleet_ca_pem(&c, err);

    return ca && startup_write(conf, "ca.crt", ca, err);
}

/* Demo data comes after the built-in rows that it refers to. */
static bool
startup_demo(struct startup *s, const struct conf *conf, struct error *err)
{
    for (const struct sql_text *t = sql_seed; conf->demo && t->name; t++) {
        if (strcmp(t->name, "demo.sql") == 0 && !db_script(s->db, t->text, err)) {
            return error_prefix(err, "demo data");
        }
    }

    return true;
}

/*
 * A new key beside a database that was sealed with another would open nothing,
 * and hide that the old one is to be brought back from the backup.
 */
static bool
startup_seal(struct startup *s, const struct conf *conf, struct error *err)
{
    CLEANUP(pgresult) PGresult  *row = NULL;
    char                         path[STARTUP_PATH_MAX];

    startup_path(conf, "seal.key", path);

    if (access(path, F_OK) != 0) {
        row = DB_EXEC(s->db, err, SQL_AUTHORITY_GET, "current");
        if (row == NULL) {
            return false;
        }

        if (PQntuples(row)) {
            return error_set(err, ERR_INVALID, "%s is missing, but the database holds what "
                             "was sealed with it: bring it back from the backup, or from "
                             "another replica", path);
        }
    }

    s->seal = seal_open(path, err);

    return s->seal != NULL;
}

bool
startup_run(struct startup *s, const struct conf *conf, struct error *err)
{
    char  path[STARTUP_PATH_MAX];

    *s = (struct startup) { .lock = -1 };

    if (!startup_folder(s, conf, err)) {
        return false;
    }

    if (!startup_database(s, conf, err) || !startup_seal(s, conf, err)
        || !startup_authorities(s, conf, err) || !startup_trust(s, conf, err)
        || !startup_demo(s, conf, err))
    {
        return false;
    }

    startup_path(conf, "admin.key", path);

    return api_key_bootstrap(s->db, path, err);
}

void
startup_end(struct startup *s)
{
    db_close(s->db);
    db_cluster_stop(s->cluster);
    seal_close(s->seal);
    fd_cleanup(&s->lock);
}
