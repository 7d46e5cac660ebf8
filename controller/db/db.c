/*
 * One PostgreSQL connection and its named statements: prepared on first use,
 * opened again after a loss, never in the middle of a transaction.
 */
#include "db.h"
#include "db_error.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DB_HINT_NS       (200 * 1000000LL)
#define DB_RECONNECT_NS  (200 * 1000000LL)

/*
 * UTC for every timestamp; a statement that waits for a lock or runs for ever
 * must not hold a thread for ever.  A process that stands still, in any of its
 * threads' transactions, keeps the rows of that one from other replicas until
 * PostgreSQL ends it: before the lease of a job is over.
 */
#define DB_OPTIONS                                                            \
    "-c TimeZone=UTC -c DateStyle=ISO -c lock_timeout=5s "                    \
    "-c statement_timeout=30s -c idle_in_transaction_session_timeout=20s "    \
    "-c client_min_messages=warning"

struct db {
    PGconn   *conn;
    char     *conninfo;
    int64_t   tried;                 /* monotonic, when a connect last failed */
    bool      listening;
    bool     *prepared;              /* by number of the statement */
};

static _Atomic int64_t  hinted;

static int64_t
monotonic_ns(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_MONOTONIC, &now);

    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* What a server says beside its answers would stand raw between log lines. */
static void
db_notice(void *arg, const char *message)
{
    (void) arg;
    (void) message;
}

static bool
db_connect(struct db *db, struct error *err)
{
    const char *const  keys[] = {
        "dbname", "options", "client_encoding", "connect_timeout",
        "target_session_attrs", "fallback_application_name",
        "keepalives_idle", "keepalives_interval", "tcp_user_timeout", NULL
    };
    const char *const  values[] = {
        db->conninfo, DB_OPTIONS, "UTF8", "5", "read-write", "certctld",
        "10", "5", "20000", NULL
    };

    PQfinish(db->conn);
    memset(db->prepared, 0, sql_statements * sizeof(*db->prepared));
    db->listening = false;

    db->conn = PQconnectdbParams(keys, values, 1);
    PQsetNoticeProcessor(db->conn, db_notice, NULL);

    if (PQstatus(db->conn) == CONNECTION_OK) {
        return true;
    }

    db->tried = monotonic_ns();

    return db_error_text(err, PQerrorMessage(db->conn));
}

struct db *
db_open(const char *conninfo, struct error *err)
{
    struct db  *db = calloc(1, sizeof(*db));

    if (db) {
        db->conninfo = strdup(conninfo);
        db->prepared = calloc(sql_statements, sizeof(*db->prepared));
    }

    if (db == NULL || db->conninfo == NULL || db->prepared == NULL) {
        db_close(db);
        error_set(err, ERR_INTERNAL, "out of memory");
        return NULL;
    }

    if (!db_connect(db, err)) {
        db_close(db);
        return NULL;
    }

    return db;
}

void
db_close(struct db *db)
{
    if (db) {
        PQfinish(db->conn);
        free(db->conninfo);
        free(db->prepared);
        free(db);
    }
}

/* Whether the server has closed an idle connection: it says so before we ask. */
static bool
db_gone(struct db *db)
{
    struct pollfd  pfd = { .fd = PQsocket(db->conn), .events = POLLIN };

    if (PQstatus(db->conn) != CONNECTION_OK) {
        return true;
    }

    return poll(&pfd, 1, 0) > 0 && !PQconsumeInput(db->conn);
}

static bool
db_ready(struct db *db, struct error *err)
{
    if (PQtransactionStatus(db->conn) == PQTRANS_IDLE ? !db_gone(db)
        : PQstatus(db->conn) == CONNECTION_OK)
    {
        return true;
    }

    if (db->tried && monotonic_ns() - db->tried < DB_RECONNECT_NS) {
        return error_set(err, ERR_UNAVAILABLE, "the database is not reachable");
    }

    return db_connect(db, err);
}

static bool
db_prepare(struct db *db, const struct sql_statement *sql, struct error *err)
{
    CLEANUP(pgresult) PGresult  *res = NULL;

    if (db->prepared[sql->number]) {
        return true;
    }

    res = PQprepare(db->conn, sql->name, sql->text, 0, NULL);

    if (PQresultStatus(res) != PGRES_COMMAND_OK) {
        db_error(err, db->conn, res);
        return error_prefix(err, "statement %s", sql->name);
    }

    db->prepared[sql->number] = true;

    return true;
}

PGresult *
db_exec(struct db *db, const struct sql_statement *sql, int n, const char *const *params,
    struct error *err)
{
    PGresult  *res;

    if (!db_ready(db, err) || !db_prepare(db, sql, err)) {
        return NULL;
    }

    res = PQexecPrepared(db->conn, sql->name, n, params, NULL, NULL, 0);

    if (PQresultStatus(res) != PGRES_TUPLES_OK
        && PQresultStatus(res) != PGRES_COMMAND_OK)
    {
        db_error(err, db->conn, res);
        PQclear(res);
        return NULL;
    }

    return res;
}

bool
db_run(struct db *db, const struct sql_statement *sql, int n, const char *const *params,
    int *rows, struct error *err)
{
    CLEANUP(pgresult) PGresult  *res = db_exec(db, sql, n, params, err);

    if (res == NULL) {
        return false;
    }

    if (rows) {
        *rows = PQresultStatus(res) == PGRES_TUPLES_OK ? PQntuples(res)
                : (int) strtol(PQcmdTuples(res), NULL, 10);
    }

    return true;
}

char *
db_value(struct db *db, const struct sql_statement *sql, int n, const char *const *params,
    struct error *err)
{
    CLEANUP(pgresult) PGresult  *res = db_exec(db, sql, n, params, err);
    char                        *value;

    if (res == NULL) {
        return NULL;
    }

    if (PQntuples(res) == 0 || PQgetisnull(res, 0, 0)) {
        error_set(err, ERR_NOT_FOUND, "not found");
        return NULL;
    }

    value = strdup(PQgetvalue(res, 0, 0));
    if (value == NULL) {
        error_set(err, ERR_INTERNAL, "out of memory");
    }

    return value;
}

static bool
db_command(struct db *db, const char *command, struct error *err)
{
    CLEANUP(pgresult) PGresult  *res = PQexec(db->conn, command);

    return PQresultStatus(res) == PGRES_COMMAND_OK || db_error(err, db->conn, res);
}

bool
db_script(struct db *db, const char *text, struct error *err)
{
    CLEANUP(pgresult) PGresult  *res = NULL;

    if (!db_ready(db, err)) {
        return false;
    }

    res = PQexec(db->conn, text);

    return PQresultStatus(res) == PGRES_COMMAND_OK
           || PQresultStatus(res) == PGRES_TUPLES_OK
           || db_error(err, db->conn, res);
}

bool
db_begin(struct db *db, struct error *err)
{
    if (PQtransactionStatus(db->conn) != PQTRANS_IDLE) {
        db_rollback(db);
    }

    return db_ready(db, err) && db_command(db, "BEGIN", err);
}

/* COMMIT of a failed transaction answers ROLLBACK and no error: look first. */
bool
db_commit(struct db *db, struct error *err)
{
    if (PQtransactionStatus(db->conn) != PQTRANS_INTRANS) {
        db_rollback(db);
        return error_set(err, ERR_UNAVAILABLE,
                         "the transaction did not hold until its end");
    }

    return db_command(db, "COMMIT", err);
}

void
db_rollback(struct db *db)
{
    if (db && PQtransactionStatus(db->conn) != PQTRANS_IDLE
        && PQstatus(db->conn) == CONNECTION_OK)
    {
        PQclear(PQexec(db->conn, "ROLLBACK"));
    }
}

void
db_hint(struct db *db)
{
    int64_t  now = monotonic_ns(), last = atomic_load(&hinted);

    if ((last && now - last < DB_HINT_NS)
        || PQtransactionStatus(db->conn) != PQTRANS_IDLE
        || !atomic_compare_exchange_strong(&hinted, &last, now))
    {
        return;
    }

    PQclear(PQexec(db->conn, "NOTIFY certctl_jobs"));
}

bool
db_listen(struct db *db, struct error *err)
{
    if (!db_ready(db, err)) {
        return false;
    }

    if (!db->listening) {
        db->listening = db_command(db, "LISTEN certctl_jobs", err);
    }

    return db->listening;
}

bool
db_wait(struct db *db, int timeout_ms, int wake_fd)
{
    struct pollfd  pfd[] = {
        { .fd = wake_fd, .events = POLLIN },
        { .fd = db->listening ? PQsocket(db->conn) : -1, .events = POLLIN },
    };
    PGnotify      *notify;
    bool           notified = false;

    if (poll(pfd, 2, timeout_ms) <= 0 || pfd[1].revents == 0) {
        return false;
    }

    if (!PQconsumeInput(db->conn)) {
        db->listening = false;
        return false;
    }

    while ((notify = PQnotifies(db->conn)) != NULL) {
        PQfreemem(notify);
        notified = true;
    }

    return notified;
}
