/* Requests to an ACME server: signatures, nonces, problems (RFC 8555 6). */
#include "acme.h"

#include "file.h"
#include "jose.h"
#include "seal.h"
#include "x509_key.h"

#include <stdio.h>
#include <string.h>

#define NONCE_TRIES   10         /* a server may refuse a fresh one, too */
#define BUNDLE_MAX    1048576
#define ANSWER_MAX    262144
#define PROBLEM       "urn:ietf:params:acme:error:"

CLEANUP_FUNC(json_ref, json_t *, json_decref)

bool
acme_account(struct acme *acme, const json_t *account, struct error *err)
{
    const char  *why = NULL, *pem = acme_string(account, "key");

    EVP_PKEY_free(acme->key);
    acme->key = NULL;
    acme->account_url = NULL;

    if (pem == NULL) {
        return true;
    }

    acme->key = certctl_key_from_pem(pem, strlen(pem), &why);

    if (acme->key == NULL) {
        return error_set(err, ERR_INTERNAL, "the stored account key: %s", why);
    }

    /* an account belongs to one server */
    if (strcmp(acme_text(account, "directory_url"),
               acme_text(acme->ctx->config, "directory_url")) == 0)
    {
        acme->account_url = acme_string(account, "url");
    }

    return true;
}

bool
acme_open(struct acme *acme, const struct issuer_context *ctx, struct error *err)
{
    const char  *bundle = acme_text(ctx->config, "ca_bundle");

    acme->ctx = ctx;

    if (*bundle) {
        acme->ca_pem = strstr(bundle, "-----BEGIN") ? strdup(bundle)
                       : file_text(bundle, BUNDLE_MAX, err);

        if (acme->ca_pem == NULL) {
            return error_prefix(err, "ca_bundle");
        }
    }

    return acme_account(acme, ctx->account, err);
}

void
acme_close(struct acme *acme)
{
    EVP_PKEY_free(acme->key);
    seal_wipe(acme->ca_pem);
    free(acme->nonce);
    json_decref(acme->problem);
}

void
acme_answer_free(struct acme_answer *answer)
{
    http_response_free(&answer->http);
    json_decref(answer->body);
    *answer = (struct acme_answer) { 0 };
}

/* What comes of a problem; what is not listed breaks a rule and ends the order. */
static const struct {
    const char  *type;
    enum err     code;
} problems[] = {
    { "rateLimited",    ERR_THROTTLED },
    { "serverInternal", ERR_UNAVAILABLE },
    { "badNonce",       ERR_UNAVAILABLE },
};

static enum err
problem_code(const json_t *problem, int status, int retry_after)
{
    const char  *type = acme_text(problem, "type");

    for (size_t i = 0; i < sizeof(problems) / sizeof(problems[0]); i++) {
        if (strncmp(type, PROBLEM, strlen(PROBLEM)) == 0
            && strcmp(type + strlen(PROBLEM), problems[i].type) == 0)
        {
            return problems[i].code;
        }
    }

    if (status == 429 || (status == 503 && retry_after > 0)) {
        return ERR_THROTTLED;
    }

    return status >= 500 || status < 400 ? ERR_UNAVAILABLE : ERR_INVALID;
}

/* At most max octets of text, which is UTF-8, cut between two characters. */
static int
cut(const char *text, int max)
{
    int  len = (int) strnlen(text, (size_t) max + 1);

    if (len > max) {
        for (len = max; len > 0 && (text[len] & 0xc0) == 0x80; len--) {
        }
    }

    return len;
}

bool
acme_problem_error(const json_t *problem, enum err code, const char *what,
    struct error *err)
{
    const json_t  *sub = json_array_get(json_object_get(problem, "subproblems"), 0);
    const char    *type = acme_text(problem, "type"), *detail = acme_text(problem, "detail");
    const char    *name = acme_text(json_object_get(sub, "identifier"), "value");

    if (strncmp(type, PROBLEM, strlen(PROBLEM)) == 0) {
        type += strlen(PROBLEM);
    }

    if (*acme_text(sub, "detail")) {
        detail = acme_text(sub, "detail");
    }

    return error_set(err, code, "%.*s%s%.*s%s%.*s: %.*s", cut(what, 80), what,
                     *name ? ", " : "", cut(name, 60), name, *type ? ": " : "",
                     cut(type, 60), type, cut(detail, 150),
                     *detail ? detail : "no reason given");
}

/* Keeps the nonce of an answer, and the URL of what it was asked for in messages. */
static void
keep_nonce(struct acme *acme, const struct http_response *http)
{
    const char  *nonce = http_header(http, "Replay-Nonce");

    free(acme->nonce);
    acme->nonce = nonce && *nonce && strlen(nonce) < 1000 ? strdup(nonce) : NULL;
}

static bool
send_request(struct acme *acme, struct http_request *req, struct acme_answer *ret,
    struct error *err)
{
    if (strncmp(req->url, "https://", 8) != 0) {
        return error_set(err, ERR_PEER, "RFC 8555 6.1: the CA gives a URL that is not "
                         "https");
    }

    req->reach = HTTP_PRIVATE;
    req->answer_max = ANSWER_MAX;
    req->tls.ca_pem = acme->ca_pem;

    acme_answer_free(ret);

    if (!http_send(acme->ctx->http, req, &ret->http, err)) {
        return false;
    }

    keep_nonce(acme, &ret->http);

    ret->body = json_loadb(ret->http.body, ret->http.body_len, 0, NULL);

    return true;
}

/* err for what is no 2xx; the problem is kept. */
static bool
answer_check(struct acme *acme, const char *url, const struct acme_answer *answer,
    struct error *err)
{
    int       status = answer->http.status;
    enum err  code;
    char      what[100];

    json_decref(acme->problem);
    acme->problem = NULL;
    acme->no_account = false;

    if (status >= 200 && status < 300) {
        return true;
    }

    code = problem_code(answer->body, status, answer->http.retry_after);

    if (json_is_object(answer->body)) {
        acme->problem = json_incref(answer->body);
        acme->no_account = strcmp(acme_text(acme->problem, "type"),
                                  PROBLEM "accountDoesNotExist") == 0;
    }

    snprintf(what, sizeof(what), "the CA answers %d", status);

    if (acme->problem) {
        acme_problem_error(acme->problem, code, what, err);
    } else {
        error_set(err, code, "%s to %.*s, without a problem document", what,
                  (int) strcspn(url, "?"), url);
    }

    err->retry_after = answer->http.retry_after;

    return false;
}

bool
acme_get(struct acme *acme, const char *url, struct acme_answer *ret,
    struct error *err)
{
    struct http_request  req = { .url = url };

    return send_request(acme, &req, ret, err) && answer_check(acme, url, ret, err);
}

static bool
new_nonce(struct acme *acme, struct error *err)
{
    CLEANUP(acme_answer) struct acme_answer  answer = { 0 };
    const char                              *url = acme_string(acme->directory, "newNonce");

    if (url == NULL) {
        return error_set(err, ERR_PEER, "RFC 8555 7.1.1: the directory lacks newNonce");
    }

    if (!acme_get(acme, url, &answer, err)) {
        return false;
    }

    return acme->nonce
           || error_set(err, ERR_PEER, "RFC 8555 7.2: newNonce answers without a "
                        "Replay-Nonce");
}

/* The signed request as text; free() it. */
static char *
signed_body(struct acme *acme, const char *url, const char *payload, struct error *err)
{
    CLEANUP(json_ref) json_t  *jws = NULL;
    json_t                    *header;
    char                      *text;

    header = json_pack("{s:s, s:s}", "nonce", acme->nonce, "url", url);

    if (acme->account_url) {
        json_object_set_new(header, "kid", json_string(acme->account_url));
    } else {
        json_object_set_new(header, "jwk", jose_jwk(acme->key));
    }

    jws = jose_sign(acme->key, header, payload, err);
    text = jws ? json_dumps(jws, JSON_COMPACT) : NULL;

    if (jws && text == NULL) {
        error_set(err, ERR_INTERNAL, "out of memory");
    }

    free(acme->nonce);
    acme->nonce = NULL;

    return text;
}

static bool
is_bad_nonce(const struct acme_answer *answer)
{
    return answer->http.status == 400
           && strcmp(acme_text(answer->body, "type"), PROBLEM "badNonce") == 0;
}

static bool
post_once(struct acme *acme, const char *url, const char *payload,
    struct acme_answer *ret, struct error *err)
{
    CLEANUP(mem) char    *body = NULL;
    struct http_request   req = {
        .method = "POST", .url = url, .content_type = "application/jose+json"
    };

    if (acme->nonce == NULL && !new_nonce(acme, err)) {
        return false;
    }

    body = signed_body(acme, url, payload, err);

    if (body == NULL) {
        return false;
    }

    req.body = body;
    req.body_len = strlen(body);

    return send_request(acme, &req, ret, err);
}

bool
acme_post(struct acme *acme, const char *url, json_t *payload,
    struct acme_answer *ret, struct error *err)
{
    CLEANUP(json_ref) json_t  *all = payload;
    CLEANUP(mem) char         *text = all ? json_dumps(all, JSON_COMPACT) : strdup("");

    if (text == NULL) {
        return error_set(err, ERR_INTERNAL, "out of memory");
    }

    if (url == NULL || acme->key == NULL) {
        return error_set(err, ERR_PEER, "the CA's answer lacks the URL that comes next");
    }

    for (int i = 0; i < NONCE_TRIES; i++) {
        if (!post_once(acme, url, text, ret, err)) {
            return false;
        }

        if (!is_bad_nonce(ret)) {
            break;
        }
    }

    return answer_check(acme, url, ret, err);
}
