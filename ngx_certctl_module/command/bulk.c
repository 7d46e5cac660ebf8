
/*
 * POST certificates: many chains in one request, each a PUT of its own that
 * shares its waits for the disk with others.  A line before each names it:
 *
 *     @shop.example keygen=server if_match=1790000000000
 *     -----BEGIN CERTIFICATE-----
 *     ...
 *
 * PEM knows no line that begins with "@".
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "command/put.h"
#include "x509_info.h"


/* Bulk requests that a worker has in progress; beyond it answers 503. */
#define NGX_HTTP_CERTCTL_BULKS  2


/* Where a part lies in the body. */

typedef struct {
    ngx_str_t   name;
    ngx_str_t   if_match;
    ngx_str_t   pem;
    ngx_uint_t  keygen;
} ngx_http_certctl_part_t;


typedef struct {
    ngx_http_certctl_call_t  *call;
    ngx_http_certctl_part_t   parts[CERTCTL_BULK_MAX];
    ngx_uint_t                n;
    ngx_uint_t                live;
    certctl_lock_pool_t      *locks;

    ngx_http_certctl_put_t    puts[CERTCTL_STORE_MANY];
} ngx_http_certctl_bulk_t;


/* Of this worker. */

static ngx_uint_t  ngx_http_certctl_bulks;


void
ngx_http_certctl_bulk_before(ngx_http_certctl_call_t *call)
{
    if (ngx_http_certctl_bulks >= NGX_HTTP_CERTCTL_BULKS) {
        ngx_http_certctl_request_error(call, NGX_HTTP_SERVICE_UNAVAILABLE,
                              "too many bulk requests in progress");
        return;
    }

    ngx_http_certctl_bulks++;
    call->counter = &ngx_http_certctl_bulks;
}


/* The same words as in the arguments and header of a PUT. */

static const char *
ngx_http_certctl_bulk_word(ngx_http_certctl_part_t *part, ngx_str_t *word)
{
    static const char    match[] = "if_match=";
    static ngx_str_t     server = ngx_string("keygen=server");

    if (!part->keygen && word->len == server.len
        && ngx_memcmp(word->data, server.data, server.len) == 0)
    {
        part->keygen = 1;
        return NULL;
    }

    if (part->if_match.len == 0 && word->len > sizeof(match) - 1
        && word->len < sizeof(match) + NGX_INT64_LEN + 2
        && ngx_memcmp(word->data, match, sizeof(match) - 1) == 0)
    {
        part->if_match.data = word->data + sizeof(match) - 1;
        part->if_match.len = word->len - (sizeof(match) - 1);
        return NULL;
    }

    return "after a name only keygen=server and if_match=<generation> may "
           "follow";
}


static const char *
ngx_http_certctl_bulk_line(ngx_http_certctl_part_t *part, u_char *p,
    u_char *last)
{
    u_char      *end;
    ngx_str_t    word;
    const char  *rule;

    if (p < last && last[-1] == '\r') {
        last--;
    }

    for (rule = NULL; rule == NULL && p <= last; p = end + 1) {

        end = ngx_strlchr(p, last, ' ');
        end = end ? end : last;

        word.data = p;
        word.len = end - p;

        if (part->name.data) {
            rule = ngx_http_certctl_bulk_word(part, &word);
            continue;
        }

        part->name = word;

        if (!certctl_name_valid(word.data, word.len)) {
            rule = NGX_HTTP_CERTCTL_NAME_RULE;
        }
    }

    return rule;
}


/* Finds the parts; NULL, or the rule that the body breaks. */

static const char *
ngx_http_certctl_bulk_parse(ngx_http_certctl_bulk_t *bulk,
    ngx_uint_t *status)
{
    u_char                   *p, *last, *eol, *next;
    const char               *rule;
    ngx_http_certctl_part_t  *part;

    p = bulk->call->body;
    last = p + bulk->call->body_len;
    *status = NGX_HTTP_BAD_REQUEST;

    if (p == last || *p != '@') {
        return "the body must begin with a line \"@<name>\"";
    }

    for ( /* void */ ; p < last; p = next) {

        if (bulk->n == CERTCTL_BULK_MAX) {
            *status = NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
            return "a bulk request may contain at most 1000 certificates";
        }

        next = memmem(p, last - p, "\n@", 2);
        next = next ? next + 1 : last;

        eol = ngx_strlchr(p, next, '\n');
        eol = eol ? eol : next;

        part = &bulk->parts[bulk->n++];
        part->pem.data = eol;
        part->pem.len = next - eol;

        rule = ngx_http_certctl_bulk_line(part, p + 1, eol);

        if (rule) {
            return rule;
        }
    }

    return NULL;
}


static void
ngx_http_certctl_bulk_store(ngx_http_certctl_bulk_t *bulk, ngx_uint_t n)
{
    ngx_uint_t                i, k;
    ngx_certctl_t            *certctl;
    ngx_http_certctl_put_t   *put[CERTCTL_STORE_MANY];
    certctl_store_put_t       stores[CERTCTL_STORE_MANY];

    certctl = &bulk->call->mcf->certctl;

    for (i = 0, k = 0; i < n; i++) {
        if (bulk->puts[i].status == 0) {
            put[k] = &bulk->puts[i];
            stores[k++].record = &bulk->puts[i].record;
        }
    }

    certctl_store_put_many(certctl->store, stores, k, bulk->locks,
                           ngx_certctl_invalidate, certctl);

    for (i = 0; i < k; i++) {

        /* there is another writer of this name, maybe an earlier part */

        if (stores[i].rc == CERTCTL_STORE_CONFLICT) {
            ngx_http_certctl_put_commit(put[i]);

        } else {
            ngx_set_errno(stores[i].err);
            ngx_http_certctl_put_stored(put[i], stores[i].rc,
                                        stores[i].generation);
        }
    }
}


/* Logs here: a thousand lines are much for an event loop. */

static void
ngx_http_certctl_bulk_answer(ngx_http_certctl_bulk_t *bulk,
    ngx_http_certctl_put_t *put)
{
    char                      fingerprint[CERTCTL_HEX256];
    ngx_certctl_zone_t       *zone;
    ngx_http_certctl_json_t  *json;

    json = &bulk->call->json;
    zone = bulk->call->mcf->certctl.zone;

    ngx_http_certctl_json_open(json, NULL, '{');

    if (put->rule) {
        ngx_http_certctl_json_text(json, "name", put->name);
        ngx_http_certctl_json_text(json, "error", put->rule);

        if (put->status < NGX_HTTP_INTERNAL_SERVER_ERROR) {
            (void) ngx_atomic_fetch_add(&zone->rejects, 1);

        } else {
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, put->err,
                          "certctl: a control request for \"%s\" failed",
                          put->name);
        }

    } else {
        ngx_http_certctl_put_answer(put, json, fingerprint);
        bulk->live++;
    }

    if (put->done) {
        (void) ngx_atomic_fetch_add(&zone->commits, 1);

        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "certctl: %s: \"%s\" generation:%uL sha256:%s",
                      put->done, put->name, put->generation, fingerprint);
    }

    ngx_http_certctl_json_number(json, "status", put->status);
    ngx_http_certctl_json_close(json, '}');
}


/* Up to CERTCTL_STORE_MANY parts: checked, stored together, answered. */

static void
ngx_http_certctl_bulk_group(ngx_http_certctl_bulk_t *bulk,
    ngx_http_certctl_part_t *part, ngx_uint_t n)
{
    ngx_uint_t               i;
    ngx_http_certctl_put_t  *put;

    for (i = 0; i < n; i++, part++) {
        put = &bulk->puts[i];

        ngx_http_certctl_yield_to_loop();

        ngx_memzero(put, sizeof(ngx_http_certctl_put_t));

        put->mcf = bulk->call->mcf;
        put->pem = part->pem;
        put->keygen = part->keygen;
        ngx_memcpy(put->name, part->name.data, part->name.len);
        if (part->if_match.len) {
            ngx_memcpy(put->if_match, part->if_match.data,
                       part->if_match.len);
        }

        if (put->name[0] == '_') {
            put->status = NGX_HTTP_FORBIDDEN;
            put->rule = "a name that begins with \"_\" is reserved; the "
                        "control listener's identity is replaced by PUT";

        } else if (ngx_http_certctl_put_check(put) == NGX_OK) {
            (void) ngx_http_certctl_put_fit(put);
        }
    }

    ngx_http_certctl_bulk_store(bulk, n);

    for (i = 0; i < n; i++) {
        ngx_http_certctl_bulk_answer(bulk, &bulk->puts[i]);
        ngx_http_certctl_put_free(&bulk->puts[i]);
    }
}


void
ngx_http_certctl_request_bulk(ngx_http_certctl_call_t *call)
{
    ngx_uint_t                i, n, status;
    const char               *rule;
    ngx_http_certctl_bulk_t  *bulk;

    bulk = ngx_calloc(sizeof(ngx_http_certctl_bulk_t), ngx_cycle->log);

    if (bulk == NULL) {
        ngx_http_certctl_request_error(call, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                       "ngx_calloc() failed");
        return;
    }

    bulk->call = call;
    bulk->locks = certctl_lock_pool_create(ngx_http_certctl_yield_to_loop);

    /* all lines are read before the first chain is: nothing has changed */

    rule = ngx_http_certctl_bulk_parse(bulk, &status);

    if (rule == NULL) {
        ngx_http_certctl_answer_open(call);
        ngx_http_certctl_json_open(&call->json, "certificates", '[');
    }

    for (i = 0; rule == NULL && i < bulk->n; i += n) {

        if (ngx_http_certctl_is_terminating()) {
            status = NGX_HTTP_SERVICE_UNAVAILABLE;
            rule = "NGINX is shutting down: not all certificates were stored";
            break;
        }

        n = ngx_min(bulk->n - i, CERTCTL_STORE_MANY);
        ngx_http_certctl_bulk_group(bulk, &bulk->parts[i], n);
    }

    if (rule) {
        ngx_http_certctl_request_error(call, status, rule);

    } else {
        ngx_http_certctl_json_close(&call->json, ']');
        ngx_http_certctl_json_number(&call->json, "live", bulk->live);
        ngx_http_certctl_json_number(&call->json, "refused",
                                     bulk->n - bulk->live);
        ngx_http_certctl_json_close(&call->json, '}');
    }

    certctl_lock_pool_destroy(call->mcf->certctl.store, bulk->locks);
    ngx_free(bulk);
}
