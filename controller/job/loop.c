/*
 * The loops.  Most are claimed in the database, so that any replica may try and
 * exactly one succeeds; what a process has in its memory, each process renews.
 *
 * To add one: 1. a statement loop_<name> in sql/query/job.sql, or a function here;
 * 2. its interval, in conf/ when it may be changed; 3. a row here.
 */
#include "loop.h"

#include "fleet.h"
#include "issuers.h"
#include "log.h"
#include "sql_certificate.h"
#include "sql_job.h"
#include "sql_order.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define INTERVAL(member)  offsetof(struct conf, member)
#define HOUR              3600
#define DAY               86400

static bool
loop_issuers(struct worker *w, struct error *err)
{
    const struct core  c = {
        .db = w->db, .seal = w->seal, .actor = "system", .actor_type = "System"
    };

    return issuers_refresh(&c, err);
}

static bool
loop_fleet(struct worker *w, struct error *err)
{
    const struct core  c = {
        .db = w->db, .seal = w->seal, .actor = "system", .actor_type = "System"
    };

    return fleet_advance(&c, err);
}

static bool
loop_certificate(struct worker *w, struct error *err)
{
    const struct core  c = {
        .db = w->db, .seal = w->seal, .actor = "system", .actor_type = "System"
    };

    return w->process->certificate(w->process->data, &c, err);
}

/* Nothing else says it of itself: these certificates just expire. */
static bool
loop_coverage(struct worker *w, struct error *err)
{
    CLEANUP(mem) char  *count = DB_VALUE(w->db, err, SQL_CERTIFICATES_UNCOVERED);

    if (count && strcmp(count, "0") != 0) {
        log_event(LOG_WARN, "loop=coverage", "no active renewal policy applies to %s "
                  "certificates, which are not renewed: \"certctl certs list --covered false\" "
                  "lists them", count);
    }

    return count != NULL;
}

static const struct loop {
    const char  *name;
    int          seconds;       /* its interval, or 0 */
    size_t       interval;      /* of its key in struct conf */
    bool       (*run)(struct worker *w, struct error *err);   /* NULL: sql */
    const struct sql_statement  *sql;
    bool         takes_interval;
    bool         everywhere;    /* in each process */
} loops[] = {
    { "inventory", .interval = INTERVAL(loop_tick), .sql = SQL_LOOP_INVENTORY,
      .takes_interval = true },
    { "expiry", .interval = INTERVAL(expiry_interval), .sql = SQL_LOOP_EXPIRY },
    { "renewal", .interval = INTERVAL(renewal_interval), .sql = SQL_LOOP_RENEWAL },
    { "ocsp", .interval = INTERVAL(ocsp_interval), .sql = SQL_LOOP_OCSP },
    { "reaper", .interval = INTERVAL(reaper_interval), .sql = SQL_QUEUE_REAP },
    { "challenges", .interval = INTERVAL(reaper_interval), .sql = SQL_LOOP_CHALLENGES },
    { "issuers", HOUR, .run = loop_issuers },
    { "fleet-ca", .interval = INTERVAL(reaper_interval), .run = loop_fleet },
    { "api-certificate", .interval = INTERVAL(reaper_interval), .run = loop_certificate, .everywhere = true },
    { "coverage", HOUR, .run = loop_coverage },
    { "partitions", DAY, .sql = SQL_LOOP_PARTITIONS },
};

#define LOOPS  (sizeof(loops) / sizeof(loops[0]))

/* When those that run in each process are due, on the monotonic clock.  One thread
 * runs them; the others do not wait for it. */
static atomic_flag  local_busy = ATOMIC_FLAG_INIT;
static time_t       local_due[LOOPS];

static int
loop_seconds(const struct loop *loop, const struct conf *conf)
{
    return loop->seconds ? loop->seconds
           : *(const int *) ((const char *) conf + loop->interval);
}

static bool
loop_work(struct worker *w, const struct loop *loop, int *rows, struct error *err)
{
    char  interval[16];

    if (loop->run) {
        return loop->run(w, err);
    }

    snprintf(interval, sizeof(interval), "%d", w->conf->inventory_interval);

    return db_run(w->db, loop->sql, loop->takes_interval, (const char *[]) { interval },
                  rows, err);
}

/* A loop that fails says so in its row and in the log, and is tried again at
 * its next turn; the others go on. */
static void
loop_do(struct worker *w, const struct loop *loop, int *rows)
{
    struct error  failed = { 0 }, ignored = { 0 };
    char          context[64];

    if (loop_work(w, loop, rows, &failed)) {
        return;
    }

    snprintf(context, sizeof(context), "loop=%s", loop->name);
    log_event(LOG_ERROR, context, "%s", failed.detail);

    if (!loop->everywhere) {
        DB_RUN(w->db, &ignored, SQL_LOOP_ERROR, loop->name, failed.detail);
    }
}

static bool
loop_claimed(struct worker *w, const struct loop *loop, int *rows,
    struct error *err)
{
    char  interval[16];
    int   claimed;

    snprintf(interval, sizeof(interval), "%d", loop_seconds(loop, w->conf));

    if (!db_run(w->db, SQL_LOOP_CLAIM, 2, (const char *[]) { loop->name, interval },
                &claimed, err))
    {
        return false;
    }

    if (claimed) {
        loop_do(w, loop, rows);
    }

    return true;
}

static void
loops_local(struct worker *w)
{
    struct timespec  now;
    int              rows;

    if (atomic_flag_test_and_set(&local_busy)) {
        return;
    }

    clock_gettime(CLOCK_MONOTONIC, &now);

    for (size_t i = 0; i < LOOPS; i++) {
        if (loops[i].everywhere && now.tv_sec >= local_due[i]) {
            local_due[i] = now.tv_sec + loop_seconds(&loops[i], w->conf);
            loop_do(w, &loops[i], &rows);
        }
    }

    atomic_flag_clear(&local_busy);
}

bool
loops_run(struct worker *w, bool *found, struct error *err)
{
    int  rows;

    loops_local(w);

    for (size_t i = 0; i < LOOPS; i++) {
        rows = 0;
        if (!loops[i].everywhere && !loop_claimed(w, &loops[i], &rows, err)) {
            return false;
        }
        *found |= rows > 0;
    }

    return true;
}
