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
#include "seal_keys.h"
#include "sql_certificate.h"
#include "sql_job.h"
#include "sql_live.h"
#include "sql_order.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INTERVAL(member)  offsetof(struct conf, member)
#define HOUR              3600
#define DAY               86400
#define SLOWLY            3        /* what changes by a person's hand, or within days */

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
loop_seal(struct worker *w, struct error *err)
{
    const struct core  c = {
        .db = w->db, .seal = w->seal, .actor = "system", .actor_type = "System"
    };

    return w->process->seal(w->process->data, &c, err);
}

static bool
loop_seal_again(struct worker *w, struct error *err)
{
    const struct core  c = {
        .db = w->db, .seal = w->seal, .actor = "system", .actor_type = "System"
    };
    int                rows;

    return seal_keys_again(&c, &rows, err);
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
    CLEANUP(mem) char           *count = DB_VALUE(w->db, err, SQL_CERTIFICATES_UNCOVERED);
    CLEANUP(pgresult) PGresult  *refused = DB_EXEC(w->db, err, SQL_CERTIFICATES_REFUSED);

    if (count == NULL || refused == NULL) {
        return false;
    }

    if (strcmp(count, "0") != 0) {
        log_event(LOG_WARN, "loop=coverage", "no active renewal policy applies to %s "
                  "certificates, which are not renewed: \"certctl certs list --covered false\" "
                  "lists them", count);
    }

    if (!PQgetisnull(refused, 0, 1)) {
        log_event(LOG_WARN, "loop=coverage", "the renewal policies of %s certificates cannot "
                  "renew them: renewal_refused says why, for example of %s",
                  PQgetvalue(refused, 0, 0), PQgetvalue(refused, 0, 1));
    }

    return true;
}

static const struct loop {
    const char  *name;
    int          seconds;       /* its interval, or 0 */
    size_t       interval;      /* of its key in struct conf */
    int          times;         /* so many of its intervals; 0: one */
    bool       (*run)(struct worker *w, struct error *err);   /* NULL: sql */
    const struct sql_statement  *sql;
    bool         takes_interval;
    bool         everywhere;    /* in each process */
} loops[] = {
    { "clock", 60, .sql = SQL_LOOP_CLOCK },
    { "inventory", .interval = INTERVAL(loop_tick), .sql = SQL_LOOP_INVENTORY,
      .takes_interval = true },
    { "live", .interval = INTERVAL(renewal_interval), .sql = SQL_LOOP_LIVE,
      .takes_interval = true },
    { "expiry", .interval = INTERVAL(expiry_interval), .sql = SQL_LOOP_EXPIRY },
    { "renewal", .interval = INTERVAL(renewal_interval), .sql = SQL_LOOP_RENEWAL },
    { "ocsp", .interval = INTERVAL(ocsp_interval), .sql = SQL_LOOP_OCSP },
    { "reaper", .interval = INTERVAL(reaper_interval), .sql = SQL_QUEUE_REAP },
    { "challenges", .interval = INTERVAL(reaper_interval), .sql = SQL_LOOP_CHALLENGES },
    { "issuers", HOUR, .run = loop_issuers },
    { "fleet-ca", .interval = INTERVAL(reaper_interval), .times = SLOWLY, .run = loop_fleet },
    { "api-certificate", .interval = INTERVAL(reaper_interval), .times = SLOWLY,
      .run = loop_certificate, .everywhere = true },
    { "seal-keys", .interval = INTERVAL(reaper_interval), .times = SLOWLY, .run = loop_seal,
      .everywhere = true },
    { "seal-again", .interval = INTERVAL(reaper_interval), .times = SLOWLY, .run = loop_seal_again },
    { "coverage", HOUR, .run = loop_coverage },
    { "partitions", DAY, .sql = SQL_LOOP_PARTITIONS },
};

#define LOOPS  (sizeof(loops) / sizeof(loops[0]))

_Static_assert(LOOPS <= 24, "a loop is a bit of the watch, and has its place in the arrays");

/* When those that run in each process are due, on the monotonic clock: the watch's. */
static time_t  local_due[LOOPS];

static int
loop_seconds(const struct loop *loop, const struct conf *conf)
{
    int  interval = loop->seconds ? loop->seconds
                    : *(const int *) ((const char *) conf + loop->interval);

    return interval * (loop->times ? loop->times : 1);
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

uint32_t
loops_due_here(const struct conf *conf)
{
    struct timespec  now;
    uint32_t         due = 0;

    clock_gettime(CLOCK_MONOTONIC, &now);

    for (size_t i = 0; i < LOOPS; i++) {
        if (loops[i].everywhere && now.tv_sec >= local_due[i]) {
            local_due[i] = now.tv_sec + loop_seconds(&loops[i], conf);
            due |= 1u << i;
        }
    }

    return due;
}

void
loops_arrays(const struct conf *conf, uint32_t which, struct loop_arrays *out)
{
    size_t  n = 0, s = 0;
    bool    asked;

    for (size_t i = 0; i < LOOPS; i++) {
        asked = (which >> i & 1) && !loops[i].everywhere;
        n += snprintf(out->names + n, sizeof(out->names) - n, "%c%s", i ? ',' : '{',
                      loops[i].name);
        s += snprintf(out->seconds + s, sizeof(out->seconds) - s, "%c%d", i ? ',' : '{',
                      asked ? loop_seconds(&loops[i], conf) : 0);
    }

    snprintf(out->names + n, sizeof(out->names) - n, "}");
    snprintf(out->seconds + s, sizeof(out->seconds) - s, "}");
}

uint32_t
loops_numbered(const char *numbers)
{
    uint32_t       due = 0;
    char          *end;
    unsigned long  n;

    while ((n = strtoul(numbers, &end, 10)) >= 1 && n <= LOOPS) {
        due |= 1u << (n - 1);
        numbers = end + (*end == ',');
    }

    return due;
}

/* Of those that are due, the ones whose turn was nobody's yet. */
static bool
loops_claim(struct worker *w, uint32_t due, uint32_t *claimed, struct error *err)
{
    struct loop_arrays  arrays;
    CLEANUP(mem) char  *numbers = NULL;

    *claimed = 0;

    for (size_t i = 0; i < LOOPS; i++) {
        *claimed |= loops[i].everywhere ? due & 1u << i : 0;
    }

    if (*claimed == due) {
        return true;
    }

    loops_arrays(w->conf, due, &arrays);
    numbers = DB_VALUE(w->db, err, SQL_LOOP_CLAIM, arrays.names, arrays.seconds);

    if (numbers == NULL) {
        return false;
    }

    *claimed |= loops_numbered(numbers);

    return true;
}

bool
loops_run(struct worker *w, uint32_t due, bool *found, struct error *err)
{
    uint32_t  claimed;
    int       rows;

    if (!loops_claim(w, due, &claimed, err)) {
        return false;
    }

    for (size_t i = 0; i < LOOPS; i++) {
        rows = 0;

        if (claimed >> i & 1) {
            loop_do(w, &loops[i], &rows);
        }

        *found |= rows > 0;
    }

    return true;
}
