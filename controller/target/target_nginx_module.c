/* Our own module, over the control requests of its listener. */
#include "target.h"

#include "ossl.h"
#include "record.h"
#include "x509_info.h"

#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#define NGINX_CONNECT_MS  3000
#define NGINX_TOTAL_MS    15000          /* an RSA-4096 key takes seconds */
#define NGINX_PAGE        500            /* certificates in a page of the report */
#define NGINX_ANSWER_MAX  (64 * 1024 * 1024)   /* such a page, of the largest chains */
#define NGINX_REPLY_MAX   (1024 * 1024)        /* to what changes something */

extern const struct target  target_nginx_module;

/* The URL of a control request: its path, with percent-encoded arguments. */
#define NGINX_URL(link, err, ...)                                             \
    http_url((link)->url, err, CERTCTL_WIRE_PREFIX __VA_ARGS__)

CLEANUP_FUNC(json_ref, json_t *, json_decref)

static bool
nginx_is_agent(const char *kind, const char *text, void *data)
{
    bool  *found = data;

    *found = strcmp(kind, "URI") == 0
             && strncmp(text, CERTCTL_URN_AGENT, sizeof(CERTCTL_URN_AGENT) - 1) == 0;

    return !*found;
}

/* The one that the module makes for itself, or that a fleet CA gave it before:
 * whoever pins another server's fingerprint does not get its answers to see. */
static const char *
nginx_identity(X509 *leaf)
{
    bool  found = false;
    char  cn[64];

    certctl_x509_common_name(leaf, cn, sizeof(cn));

    if (strcmp(cn, CERTCTL_AGENT_CN) == 0) {
        return NULL;
    }

    certctl_x509_each_san(leaf, nginx_is_agent, &found);

    return found ? NULL : "not a certificate of the module: its common name is not "
                          CERTCTL_AGENT_CN ", and it has no URI " CERTCTL_URN_AGENT
                          "<id>";
}

/* A status and the rule of the module as our error, the rule word for word. */
static bool
nginx_error(struct error *err, const char *what, int status, const char *rule)
{
    static const struct { int status; enum err code; } codes[] = {
        { 404, ERR_NOT_FOUND }, { 409, ERR_CONFLICT }, { 412, ERR_CONFLICT },
        { 422, ERR_INVALID }, { 429, ERR_THROTTLED }, { 503, ERR_UNAVAILABLE },
        { 507, ERR_UNAVAILABLE }, { 0, ERR_PEER },
    };
    size_t  i = 0;

    while (codes[i].status && codes[i].status != status) {
        i++;
    }

    return error_set(err, codes[i].code, "the module refuses %s with %d: %s", what,
                     status, rule ? rule : "no reason given");
}

static bool
nginx_refused(const struct http_response *res, const char *what, struct error *err)
{
    CLEANUP(json_ref) json_t  *body = json_loadb(res->body, res->body_len, 0, NULL);

    return nginx_error(err, what, res->status,
                       json_string_value(json_object_get(body, "error")));
}

/*
 * One control request.  The fleet CA is asked for first, with the agent's own
 * URI, so that a first contact that was cut short after the identity was
 * installed goes on; only then the pinned fingerprint.  Without a url, err has the
 * reason.
 */
static bool
nginx_send(const struct target_link *link, const char *method, const char *url,
    const char *content_type, const void *body, size_t len, const char *etag,
    struct http_response *res, struct error *err)
{
    char                 uri[160], match[160];
    const char          *headers[] = { NULL, NULL };
    struct http_request  req = {
        .method = method, .url = url, .content_type = content_type,
        .body = body, .body_len = len, .headers = headers,
        .connect_ms = NGINX_CONNECT_MS, .total_ms = NGINX_TOTAL_MS,
        .answer_max = strcmp(method, "GET") == 0 ? NGINX_ANSWER_MAX : NGINX_REPLY_MAX,
        .reach = HTTP_PRIVATE,
        .tls = { .ca_pem = link->ca_pem, .cert_pem = link->cert_pem,
                 .key_pem = link->key_pem, .uri = uri, .only_tls13 = true },
    };

    if (url == NULL) {
        return false;
    }

    snprintf(uri, sizeof(uri), CERTCTL_URN_AGENT "%s", link->agent_id);

    if (etag && *etag) {
        snprintf(match, sizeof(match), "If-None-Match: %s", etag);
        headers[0] = match;
    }

    if (http_send(link->http, &req, res, err)) {
        return true;
    }

    if (link->pin == NULL) {
        return false;
    }

    *err = (struct error) { 0 };
    req.tls.uri = NULL;
    req.tls.ca_pem = NULL;
    req.tls.pin = link->pin;
    req.tls.check = nginx_identity;

    return http_send(link->http, &req, res, err);
}

/* A name by the module's own rule, whatever the database holds. */
static bool
nginx_record(const char *record, struct error *err)
{
    return certctl_record_valid(record, strlen(record))
           || error_set(err, ERR_INVALID, "\"%.100s\" cannot be the name of a record: it "
                        "must have 1 to %d letters, digits, \".\", \"_\", \"-\" and \"*\", "
                        "and be neither \".\" nor \"..\"", record, CERTCTL_NAME_MAX);
}

/* The arguments are in the body: a hundred names are no URL.  sans and key types
 * hold only what a form may carry as it is, "*" among it. */
static bool
nginx_csr(const struct target_link *link, const char *record,
    const char *key_type, const char *sans, bool must_staple, char **csr_pem,
    struct error *err)
{
    CLEANUP(http_response) struct http_response  res = { 0 };
    CLEANUP(mem) char                           *url = NULL;
    char                                         form[CERTCTL_FORM_MAX];
    int                                          len;

    len = snprintf(form, sizeof(form), "key=%s&san=%s%s&reuse_pending=1", key_type, sans,
                   must_staple ? "&must_staple=1" : "");

    if (len >= (int) sizeof(form)) {
        return error_set(err, ERR_INVALID, "the names of %s have more than %d characters",
                         record, CERTCTL_FORM_MAX);
    }

    if (!nginx_record(record, err)) {
        return false;
    }

    url = NGINX_URL(link, err, "/certificates/%s/csr", record);

    if (!nginx_send(link, "POST", url, "application/x-www-form-urlencoded", form,
                    (size_t) len, NULL, &res, err))
    {
        return false;
    }

    if (res.status != 200 && res.status != 201) {
        return nginx_refused(&res, "the key", err);
    }

    *csr_pem = strdup(res.body);

    return *csr_pem != NULL || error_set(err, ERR_INTERNAL, "out of memory");
}

/* The staple goes as one more PEM block behind the chain, so that module and
 * client see both change together. */
static bool
nginx_put_pem(BIO *bio, const struct target_item *item)
{
    return BIO_puts(bio, item->chain_pem) > 0
           && (item->staple == NULL
               || PEM_write_bio(bio, "OCSP RESPONSE", "", item->staple,
                                (long) item->staple_len) > 0);
}

/* What was answered for one: of a PUT, or a row of the answer for many. */
static bool
nginx_installed(struct target_item *item, int status, const json_t *answer)
{
    const char  *fingerprint = json_string_value(json_object_get(answer, "fingerprint"));

    if (status != 200 && status != 201) {
        return nginx_error(&item->err, "the certificate", status,
                           json_string_value(json_object_get(answer, "error")));
    }

    if (fingerprint == NULL || strlen(fingerprint) != sizeof(item->fingerprint) - 1) {
        return error_set(&item->err, ERR_PEER, "the module's answer has no fingerprint");
    }

    memcpy(item->fingerprint, fingerprint, sizeof(item->fingerprint));
    item->installed = true;

    return true;
}

static void
nginx_install_one(const struct target_link *link, struct target_item *item)
{
    CLEANUP(http_response) struct http_response  res = { 0 };
    CLEANUP(json_ref) json_t                    *answer = NULL;
    CLEANUP(bio) BIO                            *bio = BIO_new(BIO_s_mem());
    CLEANUP(mem) char                           *url = NULL;
    char                                        *text;
    long                                         len;

    if (!nginx_record(item->record, &item->err)) {
        return;
    }

    if (bio == NULL || !nginx_put_pem(bio, item)) {
        error_set(&item->err, ERR_INTERNAL, "out of memory");
        return;
    }

    len = BIO_get_mem_data(bio, &text);
    url = NGINX_URL(link, &item->err, "/certificates/%s", item->record);

    if (nginx_send(link, "PUT", url, "application/x-pem-file", text, (size_t) len, NULL,
                   &res, &item->err))
    {
        answer = json_loadb(res.body, res.body_len, 0, NULL);
        nginx_installed(item, res.status, answer);
    }
}

/* Each of items as a row of the answer says, which are in their order. */
static void
nginx_install_rows(const struct http_response *res, struct target_item *items, int n)
{
    CLEANUP(json_ref) json_t  *answer = json_loadb(res->body, res->body_len, 0, NULL);
    const json_t              *rows = json_object_get(answer, "certificates"), *row;
    const char                *name;

    for (int i = 0; i < n; i++) {
        row = json_array_get(rows, (size_t) i);
        name = json_string_value(json_object_get(row, "name"));

        if (res->status != 200) {
            nginx_refused(res, "the certificates", &items[i].err);

        } else if (name == NULL || strcmp(name, items[i].record) != 0) {
            error_set(&items[i].err, ERR_PEER, "the module's answer leaves out %s",
                      items[i].record);

        } else {
            nginx_installed(&items[i],
                            (int) json_integer_value(json_object_get(row, "status")), row);
        }
    }
}

/* How many of items are sent in one request, which bio gets: at most as large
 * as the module takes, and up to a name that it does not.  0 when there is no
 * memory. */
static int
nginx_bulk_body(BIO *bio, const struct target_item *items, int n)
{
    CLEANUP(bio) BIO  *part = BIO_new(BIO_s_mem());
    struct error       ignored;
    char              *text;
    long               len, sum = 0;
    int                i;

    for (i = 0; part && i < n && nginx_record(items[i].record, &ignored); i++) {
        if (BIO_reset(part) != 1 || BIO_printf(part, "@%s\n", items[i].record) <= 0
            || !nginx_put_pem(part, &items[i]))
        {
            return 0;
        }

        len = BIO_get_mem_data(part, &text);
        sum += len;

        if (i > 0 && sum > CERTCTL_BULK_BODY) {
            break;
        }

        if (BIO_write(bio, text, (int) len) != len) {
            return 0;
        }
    }

    return i;
}

static void
nginx_install(const struct target_link *link, struct target_item *items, int n)
{
    int  sent;

    for (int i = 0; i < n; i += sent) {
        CLEANUP(http_response) struct http_response  res = { 0 };
        CLEANUP(bio) BIO                            *bio = BIO_new(BIO_s_mem());
        CLEANUP(mem) char                           *url = NULL;
        struct error                                 err = { 0 };
        char                                        *text;
        long                                         len;

        sent = bio ? nginx_bulk_body(bio, items + i, n - i) : 0;

        if (sent < 2) {
            nginx_install_one(link, &items[i]);
            sent = 1;
            continue;
        }

        len = BIO_get_mem_data(bio, &text);
        url = NGINX_URL(link, &err, "/certificates");

        if (nginx_send(link, "POST", url, "application/x-certctl-bulk", text,
                       (size_t) len, NULL, &res, &err))
        {
            nginx_install_rows(&res, items + i, sent);
            continue;
        }

        for (int j = i; j < i + sent; j++) {
            items[j].err = err;
        }
    }
}

static bool
nginx_staple(const struct target_link *link, const char *fingerprint,
    const void *der, size_t len, struct error *err)
{
    CLEANUP(http_response) struct http_response  res = { 0 };
    CLEANUP(mem) char                           *url = NULL;

    url = NGINX_URL(link, err, "/ocsp/%s", fingerprint);

    if (!nginx_send(link, "PUT", url, "application/ocsp-response", der, len, NULL,
                    &res, err))
    {
        return false;
    }

    /* 409: the host has a later one, pushed by somebody else */
    return (res.status >= 200 && res.status < 300) || res.status == 409
           || nginx_refused(&res, "the OCSP response", err);
}

static bool
nginx_challenge_put(const struct target_link *link, const char *type,
    const char *name, const char *value, int life, struct error *err)
{
    CLEANUP(http_response) struct http_response  res = { 0 };
    CLEANUP(mem) char                           *url = NULL;

    url = NGINX_URL(link, err, "/challenges/%s/%s?ttl=%d", type, name, life);

    if (!nginx_send(link, "PUT", url, "text/plain", value, strlen(value), NULL, &res,
                    err))
    {
        return false;
    }

    return (res.status >= 200 && res.status < 300)
           || nginx_refused(&res, "the challenge", err);
}

static bool
nginx_challenge_delete(const struct target_link *link, const char *type,
    const char *name, struct error *err)
{
    CLEANUP(http_response) struct http_response  res = { 0 };
    CLEANUP(mem) char                           *url = NULL;

    url = NGINX_URL(link, err, "/challenges/%s/%s", type, name);

    if (!nginx_send(link, "DELETE", url, NULL, NULL, 0, NULL, &res, err)) {
        return false;
    }

    return (res.status >= 200 && res.status < 300) || res.status == 404
           || nginx_refused(&res, "the end of a challenge", err);
}

/* A request with nothing but its URL, about one record. */
static bool
nginx_simple(const struct target_link *link, const char *method, const char *record,
    const char *url, const char *body, const char *what, struct error *err)
{
    CLEANUP(http_response) struct http_response  res = { 0 };

    if (!nginx_record(record, err)
        || !nginx_send(link, method, url, NULL, body, 0, NULL, &res, err))
    {
        return false;
    }

    return (res.status >= 200 && res.status < 300) || nginx_refused(&res, what, err);
}

static bool
nginx_rollback(const struct target_link *link, const char *record,
    struct error *err)
{
    CLEANUP(mem) char  *url = NGINX_URL(link, err, "/certificates/%s/rollback", record);

    return nginx_simple(link, "POST", record, url, "", "the rollback", err);
}

static bool
nginx_remove(const struct target_link *link, const char *record,
    struct error *err)
{
    CLEANUP(mem) char  *url = NGINX_URL(link, err, "/certificates/%s", record);

    return nginx_simple(link, "DELETE", record, url, NULL, "the removal", err);
}

static bool
nginx_trust(const struct target_link *link, const char *ca_pem, struct error *err)
{
    CLEANUP(http_response) struct http_response  res = { 0 };
    CLEANUP(mem) char                           *url = NGINX_URL(link, err, "/trust");

    if (!nginx_send(link, "PUT", url, "application/x-pem-file", ca_pem,
                    strlen(ca_pem), NULL, &res, err))
    {
        return false;
    }

    return res.status == 200 || nginx_refused(&res, "the CAs", err);
}

static bool
nginx_json(const struct http_response *res, const char *what, json_t **ret,
    struct error *err)
{
    json_error_t  jerr;

    if (res->status != 200) {
        return nginx_refused(res, what, err);
    }

    *ret = json_loadb(res->body, res->body_len, JSON_REJECT_DUPLICATES, &jerr);

    return json_is_object(*ret)
           || error_set(err, ERR_PEER, "%s is no JSON object: %s", what,
                        *ret ? "another type" : jerr.text);
}

static char *
nginx_report_url(const struct target_link *link, const struct target_ask *ask,
    struct error *err)
{
    const char  *form = ask->full ? "full" : "compact";

    if (ask->name) {
        return NGINX_URL(link, err, "/certificates?form=%s&limit=%d&name=%s", form, NGINX_PAGE,
                         ask->name);
    }

    return ask->after
           ? NGINX_URL(link, err, "/certificates?form=%s&limit=%d&after=%s", form, NGINX_PAGE,
                       ask->after)
           : NGINX_URL(link, err, "/certificates?form=%s&limit=%d", form, NGINX_PAGE);
}

static bool
nginx_report(const struct target_link *link, const struct target_ask *ask,
    struct target_page *ret, struct error *err)
{
    CLEANUP(http_response) struct http_response  res = { 0 };
    CLEANUP(mem) char                           *url = NULL;
    const char                                  *etag;

    url = nginx_report_url(link, ask, err);

    *ret = (struct target_page) { 0 };

    if (!nginx_send(link, "GET", url, NULL, NULL, 0, ask->etag, &res, err)) {
        return false;
    }

    if (res.status == 304) {
        ret->unchanged = true;
        return true;
    }

    if (!nginx_json(&res, "the report", &ret->report, err)) {
        return false;
    }

    if (!json_is_array(json_object_get(ret->report, "certificates"))) {
        target_page_cleanup(ret);
        return error_set(err, ERR_PEER, "the report has no list of certificates");
    }

    etag = http_header(&res, "ETag");
    ret->next = json_string_value(json_object_get(ret->report, "next"));
    ret->etag = strdup(etag ? etag : "");

    return ret->etag != NULL || error_set(err, ERR_INTERNAL, "out of memory");
}

static bool
nginx_status(const struct target_link *link, json_t **status,
    char **fingerprint, struct error *err)
{
    CLEANUP(http_response) struct http_response  res = { 0 };
    CLEANUP(mem) char                           *url = NGINX_URL(link, err, "/status");

    if (!nginx_send(link, "GET", url, NULL, NULL, 0, NULL, &res, err)
        || !nginx_json(&res, "the status", status, err))
    {
        return false;
    }

    *fingerprint = strdup(res.fingerprint);

    return *fingerprint != NULL || error_set(err, ERR_INTERNAL, "out of memory");
}

/* A name of the module's store; those with "_" at their head are its own. */
#define RECORD  "(?!_)(?!\\.\\.?$)(?:" CERTCTL_RECORD_CLASS "|\\{id\\}|\\{common_name\\})+"

static const struct field  fields[] = {
    { "record", T_TEXT, 0, 0, CERTCTL_NAME_MAX, .pattern = RECORD "|",
      .help = "name in the store of the host, the common name unless set; {id} and "
              "{common_name} are replaced" },
    { "probe", T_TEXT, 0, 3, 300, .pattern = TARGET_PROBE,
      .help = "host:port where a handshake confirms the deployment" },
    { 0 }
};

const struct target  target_nginx_module = {
    .kind = {
        "nginx-module", NULL, "NginxModuleConfig", "NGINX with the certctl module", fields
    },
    .identity = nginx_identity,
    .csr = nginx_csr,
    .install = nginx_install,
    .staple = nginx_staple,
    .challenge_put = nginx_challenge_put,
    .challenge_delete = nginx_challenge_delete,
    .rollback = nginx_rollback,
    .remove = nginx_remove,
    .trust = nginx_trust,
    .report = nginx_report,
    .status = nginx_status,
};
