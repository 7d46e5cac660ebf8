/* PostgreSQL: one connection per thread, statements known by name. */
#pragma once
#include "cleanup.h"
#include "error.h"
#include "statement.h"
#include <libpq-fe.h>
#include <stdbool.h>

struct db;

CLEANUP_FUNC(pgresult, PGresult *, PQclear)

/*
 * A connection to conninfo (a libpq string or URI), with our session settings.
 * NULL when the server cannot be reached: ERR_UNAVAILABLE.
 */
struct db *db_open(const char *conninfo, struct error *err);
void db_close(struct db *db);

/*
 * Runs a named statement with n text parameters (NULL is SQL NULL) and gives
 * its rows; NULL on error.  Prepared on first use.  A lost connection is opened
 * again before the statement, never within a transaction.  SQLSTATE and
 * constraint become err's code and text: see db_error.c.
 */
PGresult *db_exec(struct db *db, const struct sql_statement *sql, int n, const char *const *params,
    struct error *err);

/* The same for statements whose rows nobody needs; *rows, unless NULL, is how
 * many there were. */
bool db_run(struct db *db, const struct sql_statement *sql, int n, const char *const *params,
    int *rows, struct error *err);

/* One value of the first row: ERR_NOT_FOUND without a row; free() it. */
char *db_value(struct db *db, const struct sql_statement *sql, int n, const char *const *params,
    struct error *err);

/* DB_RUN(db, err, SQL_X, "a", b): text parameters in place. */
#define DB_PARAMS(...)   (const char *const []) { NULL, ## __VA_ARGS__ }
#define DB_COUNT(...)                                                         \
    ((int) (sizeof(DB_PARAMS(__VA_ARGS__)) / sizeof(char *)) - 1)
#define DB_EXEC(db, err, sql, ...)                                            \
    db_exec(db, sql, DB_COUNT(__VA_ARGS__), DB_PARAMS(__VA_ARGS__) + 1, err)
#define DB_RUN(db, err, sql, ...)                                             \
    db_run(db, sql, DB_COUNT(__VA_ARGS__), DB_PARAMS(__VA_ARGS__) + 1, NULL, err)
#define DB_VALUE(db, err, sql, ...)                                           \
    db_value(db, sql, DB_COUNT(__VA_ARGS__), DB_PARAMS(__VA_ARGS__) + 1, err)

/*
 * Transactions.  db_commit fails with ERR_UNAVAILABLE when its outcome is not
 * known: the caller resolves it by the natural key on its next try.
 * db_rollback is harmless outside a transaction.
 */
bool db_begin(struct db *db, struct error *err);
bool db_commit(struct db *db, struct error *err);
void db_rollback(struct db *db);

/* Rolls back at the end of the scope unless committed:
 *     CLEANUP(db_tx) struct db  *tx = db;                                   */
CLEANUP_FUNC(db_tx, struct db *, db_rollback)

/* Wakes workers soon: at most one NOTIFY per 200 ms and process, outside any
 * transaction (reliability.md). Losing one costs a polling interval. */
void db_hint(struct db *db);

/* LISTEN for hints; db_wait then returns at a hint, after timeout_ms, or when
 * wake_fd (unless -1) becomes readable: true when there was a hint. */
bool db_listen(struct db *db, struct error *err);
bool db_wait(struct db *db, int timeout_ms, int wake_fd);

/* Runs a script of sql/schema or sql/seed: several statements, no parameters. */
bool db_script(struct db *db, const char *text, struct error *err);

/* Applies sql/schema's migrations that the database lacks, each in its own
 * transaction, under one advisory lock. */
bool db_migrate(struct db *db, struct error *err);

/*
 * A private PostgreSQL cluster in dir: made when missing, started, recovered;
 * unix socket only.  Started by root it runs as user ("postgres", else
 * "nobody").  Returns its conninfo (free()) or NULL.
 */
struct db_cluster;
struct db_cluster *db_cluster_start(const char *dir, struct error *err);

/* Starts the server again when it has died; to be called now and then. */
bool db_cluster_check(struct db_cluster *cluster, struct error *err);
const char *db_cluster_conninfo(const struct db_cluster *cluster);
void db_cluster_stop(struct db_cluster *cluster);
