/*
 * The loops.  Each is one set-based statement, claimed in the database, so that
 * any replica may try and exactly one succeeds.
 *
 * To add one: 1. a statement loop_<name> in sql/query/job.sql; 2. its interval
 * in conf/; 3. a row here.
 */
#include "loop.h"

#include "log.h"
#include "sql_job.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define INTERVAL(key)  offsetof(struct conf, key)
#define DAILY          ((size_t) -1)

static const struct loop {
    const char                  *name;
    size_t                       interval;     /* of its key in struct conf, or DAILY */
    const struct sql_statement  *sql;
    bool                         takes_interval;
} loops[] = {
    { "inventory",  INTERVAL(loop_tick),        SQL_LOOP_INVENTORY,  true },
    { "expiry",     INTERVAL(expiry_interval),  SQL_LOOP_EXPIRY,     false },
    { "renewal",    INTERVAL(renewal_interval), SQL_LOOP_RENEWAL,    false },
    { "ocsp",       INTERVAL(ocsp_interval),    SQL_LOOP_OCSP,       false },
    { "reaper",     INTERVAL(reaper_interval),  SQL_QUEUE_REAP,      false },
    { "partitions", DAILY,                      SQL_LOOP_PARTITIONS, false },
};

static int
loop_seconds(const struct loop *loop, const struct conf *conf)
{
    return loop->interval == DAILY ? 86400
           : *(const int *) ((const char *) conf + loop->interval);
}

/* A loop that fails says so in its row and in the log, and is tried again at
 * its next turn; the others go on. */
static bool
loop_run(struct db *db, const struct conf *conf, const struct loop *loop,
    int *rows, struct error *err)
{
    struct error  failed = { 0 }, ignored = { 0 };
    char          context[64], interval[16];
    int           claimed;

    snprintf(interval, sizeof(interval), "%d", loop_seconds(loop, conf));

    if (!db_run(db, SQL_LOOP_CLAIM, 2, (const char *[]) { loop->name, interval },
                &claimed, err))
    {
        return false;
    }

    *rows = 0;

    if (claimed == 0) {
        return true;
    }

    snprintf(interval, sizeof(interval), "%d", conf->inventory_interval);

    if (!db_run(db, loop->sql, loop->takes_interval,
                (const char *[]) { interval }, rows, &failed))
    {
        snprintf(context, sizeof(context), "loop=%s", loop->name);
        log_event(LOG_ERROR, context, "%s", failed.detail);
        DB_RUN(db, &ignored, SQL_LOOP_ERROR, loop->name, failed.detail);
    }

    return true;
}

bool
loops_run(struct db *db, const struct conf *conf, bool *found,
    struct error *err)
{
    int  rows;

    for (size_t i = 0; i < sizeof(loops) / sizeof(loops[0]); i++) {
        if (!loop_run(db, conf, &loops[i], &rows, err)) {
            return false;
        }
        *found |= rows > 0;
    }

    return true;
}
