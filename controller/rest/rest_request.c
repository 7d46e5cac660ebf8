/* One request from its first line to its log line. */
#include "rest_worker.h"
#include "conf.h"
#include "core.h"
#include "log.h"
#include "resource.h"
#include "rest_body.h"
#include "rest_idempotency.h"

#include <event2/buffer.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

static int64_t
monotonic_us(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_MONOTONIC, &now);

    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

/* RFC 9562 5.4, made here always: a caller's own could forge log lines. */
static void
request_make_id(char id[37])
{
    unsigned char  b[16];

    if (RAND_bytes(b, sizeof(b)) != 1) {
        memset(b, 0, sizeof(b));
    }

    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;

    snprintf(id, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
             "%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4], b[5],
             b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

/* The thread's connection; one that cannot be had is tried once a second. */
static bool
request_db(struct worker *w, struct request *r)
{
    struct timespec  now;

    r->db = w->db;
    if (r->db || (r->route->flags & ROUTE_NODB)) {
        return true;
    }

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if (w->db_failed == now.tv_sec) {
        return error_set(&r->err, ERR_UNAVAILABLE, "the database is not reachable");
    }

    r->db = w->db = db_open(w->shared->conninfo, &r->err);
    w->db_failed = r->db ? 0 : now.tv_sec;

    return r->db != NULL;
}

/* The audit row names the resource of the route, and what the handler noted. */
static bool
request_audit(struct request *r)
{
    const struct core       core = { r->db, r->ctx->seal, r->actor, r->actor_type };
    const struct resource  *res = r->route->data;
    const char             *subject = r->subject ? r->subject : r->args[0];

    if (r->details == NULL) {
        r->details = json_object();
    }

    json_object_set_new(r->details, "request_id", json_string(r->id));

    return audit_write(&core, res->category, r->route->audit, res->name,
                       subject ? subject : "", r->details, &r->err);
}

/* The handler, its writes and its audit row: together or not at all. */
static bool
request_run(struct request *r)
{
    CLEANUP(db_tx) struct db  *tx = NULL;
    bool                       known;

    if (r->route->audit == NULL) {
        return r->route->handler(r);
    }

    if (!db_begin(r->db, &r->err)) {
        return false;
    }

    tx = r->db;

    if (!idempotency_begin(r, &known)) {
        return false;
    }

    if (known) {
        return true;
    }

    if (!r->route->handler(r) || !request_audit(r) || !idempotency_end(r)
        || !db_commit(tx, &r->err))
    {
        return false;
    }

    if (r->route->flags & ROUTE_WAKES) {
        db_hint(r->db);
    }

    return true;
}

static bool
request_route(const struct door *door, struct request *r, struct text_room *room)
{
    const char  *allow = NULL;

    if (strlen(r->path) > REST_PATH_MAX) {
        r->path = "-";
        return error_set(&r->err, ERR_MALFORMED, "the path is longer than %d bytes",
                         REST_PATH_MAX);
    }

    r->route = router_find(door->router, r->method, r->path, room, r->args,
                           &allow, &r->err);
    if (r->route == NULL && allow) {
        rest_header(r, "Allow", allow);
    }

    return r->route != NULL
           && text_query(room, r->message->query, r->query, &r->err);
}

/* Of an action, only what it names; of a list, its filters and its paging. */
static bool
query_known(const struct route *route, const char *name)
{
    const struct resource  *res = route->data;
    const struct filter    *known;

    if ((route->flags & ROUTE_LIST) && resource_pages_by(name)) {
        return true;
    }

    known = res && (res->view == NULL || (route->flags & ROUTE_LIST)) ? res->filters : NULL;

    while (known && known->name && strcmp(known->name, name) != 0) {
        known++;
    }

    return known && known->name;
}

static bool
request_query(struct request *r)
{
    for (const struct query_arg *arg = r->query; arg->name; arg++) {
        if (!(r->route->flags & ROUTE_PKI) && !query_known(r->route, arg->name)) {
            return error_set(&r->err, ERR_MALFORMED,
                             "unknown query parameter \"%.60s\"", arg->name);
        }
    }

    return true;
}

static bool
request_answer(struct door *door, struct request *r, struct text_room *room,
    const char *peer)
{
    struct worker  *w = door->worker;

    if (r->message->state == MESSAGE_BAD) {
        r->err = r->message->err;
        return false;
    }

    return request_route(door, r, room)
           && request_db(w, r)
           && auth_request(w->auth, r, peer)
           && request_query(r)
           && body_read(r)
           && request_run(r);
}

static void
request_log(const struct request *r, const char *peer, int64_t start)
{
    char  context[240];

    snprintf(context, sizeof(context), "request=%s peer=%s actor=%s", r->id,
             peer, r->actor ? r->actor : "-");

    if (r->status >= 500) {
        log_event(LOG_WARN, context, "%s %.200s %d %lldus: %s%s%s", r->method, r->path,
                  r->status, (long long) (monotonic_us() - start), r->err.detail,
                  r->err.cause[0] ? ": " : "", r->err.cause);
    } else {
        log_event(LOG_INFO, context, "%s %.200s %d %lldus", r->method, r->path,
                  r->status, (long long) (monotonic_us() - start));
    }
}

static void
request_free(struct request *r)
{
    json_decref(r->body);
    json_decref(r->details);
    json_decref(r->errors);
    json_decref(r->problem);
    free(r->subject);

    for (size_t i = 0; r->headers[i].name; i++) {
        free(r->headers[i].value);
    }

    if (r->out) {
        evbuffer_free(r->out);
    }
}

void
request_handle(struct door *door, struct conn *conn, const struct message *message)
{
    struct worker     *w = door->worker;
    struct text_room   room;
    struct request     r = {
        .ctx = w->shared->ctx, .keep = &w->keep,
        .open = w->shared->open, .status = 200, .message = message,
        .method = message->method ? message->method : "-",
        .path = message->path ? message->path : "-",
        .out = evbuffer_new(),
    };
    int64_t            start = monotonic_us();
    bool               ok;

    room.used = 0;
    request_make_id(r.id);

    ok = request_answer(door, &r, &room, conn_peer(conn));
    if (!ok && r.err.code == ERR_NONE) {
        error_set(&r.err, ERR_INTERNAL, "no reason was given");
    }

    if (!ok) {
        r.status = err_infos[r.err.code].http_status;
    }

    request_log(&r, conn_peer(conn), start);
    reply_send(conn, &r, ok,
               message->state == MESSAGE_BAD || message->close || w->stopping);
    request_free(&r);
}
