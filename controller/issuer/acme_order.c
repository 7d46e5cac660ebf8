/*
 * An ACME order, one phase a step (RFC 8555 7.1.6).  The state has the URLs that
 * the CA has given, so that a step after a kill goes on with the same order.
 */
#include "acme.h"

#include "jose.h"
#include "ossl.h"
#include "random.h"
#include "x509_chain.h"
#include "x509_key.h"

#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#define AT_ONCE      10          /* authorizations that one step asks for */
#define POLL_MAX     60          /* seconds between two looks */
#define ORDERS_MAX   5           /* new orders when another one has used ours */
#define LOOKUP_MAX   20          /* of the account's orders are looked at */

CLEANUP_FUNC(json_ref, json_t *, json_decref)

struct run {
    struct acme                   acme;
    const struct issuer_request  *req;
    struct issuer_step           *ret;
    json_t                       *state;        /* the next one */
    struct error                  err;
};

/* The step ends with outcome; the next one is phase. */
static bool
next(struct run *r, const char *phase, enum issuer_outcome outcome, int wait)
{
    json_object_set_new(r->state, "phase", json_string(phase));
    r->ret->outcome = outcome;
    r->ret->retry_after = wait;

    return true;
}

static bool
go_on(struct run *r, const char *phase)
{
    return next(r, phase, ISSUER_PENDING, 0);
}

/* RFC 8555 7.5.1: as often as the CA asks for. */
static bool
look_again(struct run *r, const char *phase, int retry_after)
{
    return next(r, phase, ISSUER_PENDING, retry_after < 1 ? 1
                : retry_after > POLL_MAX ? POLL_MAX : retry_after);
}

static int
count(const struct run *r, const char *name)
{
    return (int) json_integer_value(json_object_get(r->state, name));
}

static void
set_count(struct run *r, const char *name, int value)
{
    json_object_set_new(r->state, name, json_integer(value));
}

static const char *
challenge_type(const struct run *r)
{
    const char  *type = acme_text(r->acme.ctx->config, "challenge_type");

    return *type ? type : "http-01";
}

/* The profile that the order asks for, if the CA offers it. */
static bool
choose_profile(struct run *r, const json_t *directory)
{
    const json_t  *config = r->acme.ctx->config;
    const json_t  *meta = json_object_get(directory, "meta");
    const char    *profile = acme_text(config, "profile");

    if (*profile && json_object_get(json_object_get(meta, "profiles"), profile)) {
        json_object_set_new(r->state, "profile", json_string(profile));

    } else if (*profile && json_is_true(json_object_get(config, "profile_required"))) {
        return error_set(&r->err, ERR_INVALID, "the CA does not offer the profile \"%.100s\", "
                         "which profile_required asks for", profile);
    }

    if (json_is_true(json_object_get(meta, "externalAccountRequired"))
        && !*acme_text(config, "eab_kid"))
    {
        return error_set(&r->err, ERR_INVALID, "this CA requires external account binding: "
                         "configure eab_kid and eab_hmac (RFC 8555 7.3.4)");
    }

    return true;
}

/* RFC 8555 8.4: only DNS-01 is for wildcards. */
static bool
check_names(struct run *r)
{
    return strstr(r->req->sans, "DNS:*.") == NULL
           || error_set(&r->err, ERR_INVALID, "%s cannot prove a wildcard name "
                        "(RFC 8555 7.1.4)", challenge_type(r));
}

static bool
phase_directory(struct run *r)
{
    CLEANUP(json_ref) json_t  *directory = NULL;

    if (!check_names(r)) {
        return false;
    }

    directory = acme_directory(&r->acme, &r->err);

    if (directory == NULL || !choose_profile(r, directory)) {
        return false;
    }

    json_object_set(r->state, "directory", directory);
    json_object_del(json_object_get(r->state, "directory"), "meta");

    return go_on(r, "account");
}

static json_t *
new_account(const struct run *r)
{
    CLEANUP(pkey) EVP_PKEY  *key = certctl_key_generate("ec-p256");
    CLEANUP(bio) BIO        *bio = BIO_new(BIO_s_secmem());
    char                    *text;
    long                     len;

    if (key == NULL || bio == NULL
        || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
    {
        return NULL;
    }

    len = BIO_get_mem_data(bio, &text);

    return json_pack("{s:s%, s:s}", "key", text, (size_t) len, "directory_url",
                     acme_text(r->acme.ctx->config, "directory_url"));
}

/*
 * The key is stored before the CA gets it, and newAccount with a key that it has
 * answers with the account: a kill between the two makes no second one.
 */
static bool
phase_account(struct run *r)
{
    CLEANUP(acme_answer) struct acme_answer  answer = { 0 };
    const struct issuer_context             *ctx = r->acme.ctx;

    if (r->acme.account_url) {
        return go_on(r, "order");
    }

    if (ctx->account_held && r->acme.key) {
        if (!acme_register(&r->acme, false, &answer, &r->err)) {
            return false;
        }

        r->ret->account = json_deep_copy(ctx->account);
        json_object_set_new(r->ret->account, "url",
                            json_string(http_header(&answer.http, "Location")));
        json_object_set_new(r->ret->account, "directory_url",
                            json_string(acme_text(ctx->config, "directory_url")));
        json_object_set(r->ret->account, "orders", json_object_get(answer.body, "orders"));

        return go_on(r, "order");
    }

    if (ctx->account_held) {
        r->ret->account = new_account(r);

        if (r->ret->account == NULL) {
            return error_set_ossl(&r->err, ERR_INTERNAL, "account key");
        }
    }

    return next(r, "account", ISSUER_ACCOUNT, 0);
}

/* The CA does not know the account: it is registered again with the same key. */
static bool
phase_register_again(struct run *r)
{
    if (!r->acme.ctx->account_held) {
        return next(r, "register_again", ISSUER_ACCOUNT, 0);
    }

    r->ret->account = json_deep_copy(r->acme.ctx->account);
    json_object_del(r->ret->account, "url");

    return next(r, "account", ISSUER_ACCOUNT, 0);
}

/* [{"type": "dns", "value": "a.example"}], sorted as the request has its names. */
static json_t *
identifiers(const char *sans)
{
    json_t      *ret = json_array();
    const char  *at = sans, *value;
    size_t       len;
    bool         ip;

    for ( ; *at; at += len + (at[len] == ',')) {
        len = strcspn(at, ",");
        value = memchr(at, ':', len);

        if (value == NULL) {
            continue;
        }

        value++;
        ip = strncmp(at, "IP:", 3) == 0;
        json_array_append_new(ret, json_pack("{s:s, s:s%}", "type", ip ? "ip" : "dns",
                                             "value", value, len - (size_t) (value - at)));
    }

    return ret;
}

/* Whether two lists have the same identifiers, in whatever order. */
static bool
same_identifiers(const json_t *a, const json_t *b)
{
    size_t         i, j;
    const json_t  *one, *other;
    bool           found;

    if (!json_is_array(b) || json_array_size(a) != json_array_size(b)) {
        return false;
    }

    json_array_foreach(a, i, one) {
        found = false;

        json_array_foreach(b, j, other) {
            found |= strcmp(acme_text(one, "type"), acme_text(other, "type")) == 0
                     && strcasecmp(acme_text(one, "value"), acme_text(other, "value")) == 0;
        }

        if (!found) {
            return false;
        }
    }

    return true;
}

/* The order of url and body is ours from now on. */
static bool
take_order(struct run *r, const char *url, const json_t *body)
{
    const json_t  *authz = json_object_get(body, "authorizations");

    if (url == NULL || acme_string(body, "finalize") == NULL || !json_is_array(authz)
        || json_array_size(authz) > ISSUER_CHALLENGES_MAX)
    {
        return error_set(&r->err, ERR_PEER, "RFC 8555 7.1.3: the CA's order has no URL, no "
                         "finalize or no authorizations");
    }

    json_object_set_new(r->state, "order", json_string(url));
    json_object_set_new(r->state, "finalize", json_string(acme_string(body, "finalize")));
    json_object_set(r->state, "authorizations", json_object_get(body, "authorizations"));
    json_object_set_new(r->state, "open", json_array());
    set_count(r, "at", 0);

    return go_on(r, "authorize");
}

/*
 * After a kill the CA may have the order already.  True when it is found, in the
 * list that RFC 8555 7.1.2.1 describes and some CAs have; of those that do not,
 * most answer an identical newOrder with the order that is pending.
 */
static bool
find_order(struct run *r, const json_t *wanted)
{
    CLEANUP(acme_answer) struct acme_answer  list = { 0 }, order = { 0 };
    struct error                             ignored;
    const char                              *url = acme_string(r->acme.ctx->account, "orders");
    const json_t                            *orders;
    size_t                                   n;

    if (url == NULL || !acme_post(&r->acme, url, NULL, &list, &ignored)) {
        return false;
    }

    orders = json_object_get(list.body, "orders");
    n = json_array_size(orders);

    for (size_t i = n; i > 0 && n - i < LOOKUP_MAX; i--) {
        url = json_string_value(json_array_get(orders, i - 1));

        if (url && acme_post(&r->acme, url, NULL, &order, &ignored)
            && field_word_in("pending ready", acme_text(order.body, "status"))
            && same_identifiers(wanted, json_object_get(order.body, "identifiers")))
        {
            return take_order(r, url, order.body);
        }
    }

    return false;
}

static bool
phase_order(struct run *r)
{
    CLEANUP(acme_answer) struct acme_answer  answer = { 0 };
    CLEANUP(json_ref) json_t                *wanted = identifiers(r->req->sans);
    json_t                                  *payload;

    if (r->acme.ctx->resumed && find_order(r, wanted)) {
        return true;
    }

    payload = json_pack("{s:O}", "identifiers", wanted);

    if (acme_string(r->state, "profile")) {
        json_object_set(payload, "profile", json_object_get(r->state, "profile"));
    }

    if (acme_post(&r->acme, acme_string(r->acme.directory, "newOrder"), payload, &answer,
                  &r->err))
    {
        return take_order(r, http_header(&answer.http, "Location"), answer.body);
    }

    if (r->acme.no_account && count(r, "registered") == 0) {
        set_count(r, "registered", 1);
        return go_on(r, "register_again");
    }

    return error_prefix(&r->err, "order");
}

/* An order or an authorization has a status (RFC 8555 7.1.6); NULL when this is none. */
static const char *
object_status(struct run *r, const struct acme_answer *answer)
{
    const char  *status = acme_string(answer->body, "status");

    if (status == NULL) {
        error_set(&r->err, ERR_PEER, "RFC 8555 7.1: the CA's answer has no status");
    }

    return status;
}

/* The challenge of our type in an authorization. */
static const json_t *
find_challenge(const struct run *r, const json_t *authz)
{
    const json_t  *challenge;
    size_t         i;

    json_array_foreach(json_object_get(authz, "challenges"), i, challenge) {
        if (strcmp(acme_text(challenge, "type"), challenge_type(r)) == 0) {
            return challenge;
        }
    }

    return NULL;
}

static void
authz_name(const json_t *authz, char *out, size_t size)
{
    snprintf(out, size, "%.200s", acme_text(json_object_get(authz, "identifier"), "value"));
}

/* Why an authorization is not there: what its challenge says (RFC 8555 7.1.4). */
static bool
authz_refused(struct run *r, const json_t *authz)
{
    const json_t  *challenge, *problem = NULL;
    size_t         i;
    char           name[201], what[250];

    json_array_foreach(json_object_get(authz, "challenges"), i, challenge) {
        if (json_is_object(json_object_get(challenge, "error"))) {
            problem = json_object_get(challenge, "error");
        }
    }

    authz_name(authz, name, sizeof(name));

    if (problem == NULL) {
        return error_set(&r->err, ERR_INVALID, "the CA's authorization for %s is %.30s", name,
                         acme_text(authz, "status"));
    }

    json_decref(r->acme.problem);
    r->acme.problem = json_incref((json_t *) problem);
    snprintf(what, sizeof(what), "the CA refuses %s", name);

    return acme_problem_error(problem, ERR_INVALID, what, &r->err);
}

/* What the hosts answer with: RFC 8555 8.3, RFC 8737 3. */
static bool
challenge_value(struct run *r, const char *token, struct issuer_challenge *ch)
{
    CLEANUP(mem) char  *thumbprint = jose_thumbprint(r->acme.key), *text = NULL;
    char                digest[65];

    if (thumbprint == NULL || asprintf(&text, "%s.%s", token, thumbprint) < 0) {
        return error_set(&r->err, ERR_INTERNAL, "out of memory");
    }

    if (strcmp(ch->type, "http-01") == 0) {
        ch->name = strdup(token);
        ch->value = TAKE(text);

    } else {
        sha256_hex(text, strlen(text), digest);
        ch->name = strdup(ch->identifier);
        ch->value = strdup(digest);
    }

    return (ch->name && ch->value) || error_set(&r->err, ERR_INTERNAL, "out of memory");
}

/* Adds what this authorization needs to the step's challenges and to "open". */
static bool
authz_open(struct run *r, const char *url, const json_t *authz)
{
    const json_t             *challenge = find_challenge(r, authz);
    const char               *token = acme_string(challenge, "token");
    struct issuer_challenge  *ch;
    char                      name[201];

    authz_name(authz, name, sizeof(name));

    if (token == NULL || acme_string(challenge, "url") == NULL) {
        return error_set(&r->err, ERR_INVALID, "the CA offers no %s challenge for %s",
                         challenge_type(r), name);
    }

    ch = &r->ret->challenges[r->ret->nchallenges++];
    ch->type = challenge_type(r);
    ch->identifier = strdup(name);

    if (ch->identifier == NULL || !challenge_value(r, token, ch)) {
        return false;
    }

    return json_array_append_new(json_object_get(r->state, "open"),
                                 json_pack("{s:s, s:s}", "authz", url, "challenge",
                                           acme_string(challenge, "url"))) == 0
           || error_set(&r->err, ERR_INTERNAL, "out of memory");
}

static bool
authz_take(struct run *r, const char *url)
{
    CLEANUP(acme_answer) struct acme_answer  answer = { 0 };
    const char                              *status;

    if (!acme_post(&r->acme, url, NULL, &answer, &r->err)) {
        return error_prefix(&r->err, "authorization");
    }

    status = object_status(r, &answer);

    if (status == NULL) {
        return false;
    }

    if (strcmp(status, "valid") == 0) {
        return true;
    }

    return strcmp(status, "pending") == 0 ? authz_open(r, url, answer.body)
                                          : authz_refused(r, answer.body);
}

static bool
phase_authorize(struct run *r)
{
    const json_t  *all = json_object_get(r->state, "authorizations");
    size_t         at = (size_t) count(r, "at"), n = json_array_size(all);

    r->ret->challenges = calloc(AT_ONCE, sizeof(*r->ret->challenges));

    if (r->ret->challenges == NULL) {
        return error_set(&r->err, ERR_INTERNAL, "out of memory");
    }

    for (int i = 0; i < AT_ONCE && at < n; i++, at++) {
        if (!authz_take(r, json_string_value(json_array_get(all, at)))) {
            return false;
        }
    }

    set_count(r, "at", at < n ? (int) at : 0);

    return next(r, at < n ? "authorize"
                : json_array_size(json_object_get(r->state, "open")) ? "answer" : "finalize",
                r->ret->nchallenges ? ISSUER_CHALLENGES : ISSUER_PENDING, 0);
}

/* Tells the CA that the hosts answer.  A challenge that has been told of already may
 * be refused: whether that matters is seen when the authorization is looked at. */
static bool
phase_answer(struct run *r)
{
    CLEANUP(acme_answer) struct acme_answer  answer = { 0 };
    const json_t                            *open = json_object_get(r->state, "open");
    size_t                                   at = (size_t) count(r, "at");
    size_t                                   n = json_array_size(open);

    for (int i = 0; i < AT_ONCE && at < n; i++, at++) {
        if (!acme_post(&r->acme, acme_string(json_array_get(open, at), "challenge"),
                       json_object(), &answer, &r->err)
            && r->err.code != ERR_INVALID)
        {
            return error_prefix(&r->err, "challenge");
        }
    }

    set_count(r, "at", at < n ? (int) at : 0);

    return go_on(r, at < n ? "answer" : "validate");
}

/* Looks at authorizations that are open; those that are valid are no more. */
static bool
phase_validate(struct run *r)
{
    CLEANUP(acme_answer) struct acme_answer  answer = { 0 };
    json_t                                  *open = json_object_get(r->state, "open");
    const char                              *status;
    int                                      wait = 0;
    size_t                                   i = 0;

    for (int n = 0; n < AT_ONCE && i < json_array_size(open); n++) {
        if (!acme_post(&r->acme, acme_string(json_array_get(open, i), "authz"), NULL, &answer,
                       &r->err))
        {
            return error_prefix(&r->err, "authorization");
        }

        status = object_status(r, &answer);

        if (status == NULL) {
            return false;
        }

        if (strcmp(status, "valid") == 0) {
            json_array_remove(open, i);
            continue;
        }

        if (strcmp(status, "pending") != 0) {
            return authz_refused(r, answer.body);
        }

        wait = answer.http.retry_after > wait ? answer.http.retry_after : wait;
        i++;
    }

    if (json_array_size(open) == 0) {
        return go_on(r, "finalize");
    }

    return i == 0 ? go_on(r, "validate") : look_again(r, "validate", wait);
}

/* The order as the CA has it. */
static bool
order_look(struct run *r, struct acme_answer *ret)
{
    return (acme_post(&r->acme, acme_string(r->state, "order"), NULL, ret, &r->err)
            && object_status(r, ret)) || error_prefix(&r->err, "order");
}

/* RFC 8555 7.1.3: an order that is invalid has an error, or its authorizations do. */
static bool
order_refused(struct run *r, const json_t *order)
{
    const json_t  *problem = json_object_get(order, "error");

    if (!json_is_object(problem)) {
        return error_set(&r->err, ERR_INVALID, "the CA's order is %.30s",
                         acme_text(order, "status"));
    }

    json_decref(r->acme.problem);
    r->acme.problem = json_incref((json_t *) problem);

    return acme_problem_error(problem, ERR_INVALID, "the CA refuses the order", &r->err);
}

/* Another order of ours was answered with the same one, and has used it. */
static bool
order_again(struct run *r)
{
    if (count(r, "again") >= ORDERS_MAX) {
        return error_set(&r->err, ERR_UNAVAILABLE, "other orders of this account have used "
                         "the CA's order for the same names %d times", ORDERS_MAX);
    }

    set_count(r, "again", count(r, "again") + 1);

    return go_on(r, "order");
}

static char *
request_text(struct run *r)
{
    const char                   *why = NULL;
    CLEANUP(x509_req) X509_REQ   *csr = NULL;
    CLEANUP(ossl_buf) unsigned char *der = NULL;
    int                           len;

    csr = certctl_csr_from_pem(r->req->csr_pem, strlen(r->req->csr_pem), &why);
    len = csr ? i2d_X509_REQ(csr, &der) : -1;

    if (len <= 0) {
        error_set(&r->err, ERR_INVALID, "certification request: %s", why ? why : "no DER");
        return NULL;
    }

    return jose_encode(der, (size_t) len);
}

static bool
finalize(struct run *r)
{
    CLEANUP(acme_answer) struct acme_answer  answer = { 0 };
    CLEANUP(mem) char                       *csr = request_text(r);

    if (csr == NULL) {
        return false;
    }

    if (!acme_post(&r->acme, acme_string(r->state, "finalize"), json_pack("{s:s}", "csr", csr),
                   &answer, &r->err))
    {
        return error_prefix(&r->err, "finalize");
    }

    json_object_set_new(r->state, "finalized", json_true());

    return strcmp(acme_text(answer.body, "status"), "valid") == 0
           ? go_on(r, "issue") : look_again(r, "issue", answer.http.retry_after);
}

/* A kill may have come behind the request: then the order is ours, or the key of its
 * certificate says that it is not. */
static bool
phase_finalize(struct run *r)
{
    CLEANUP(acme_answer) struct acme_answer  answer = { 0 };
    const char                              *status;

    if (!order_look(r, &answer)) {
        return false;
    }

    status = acme_text(answer.body, "status");

    if (strcmp(status, "ready") == 0) {
        return finalize(r);
    }

    if (strcmp(status, "pending") == 0) {
        return look_again(r, "finalize", answer.http.retry_after);
    }

    if (!field_word_in("processing valid", status)) {
        return order_refused(r, answer.body);
    }

    return r->acme.ctx->resumed ? go_on(r, "issue") : order_again(r);
}

/* Common name of whoever issued the last certificate of a chain; free() it. */
static char *
last_issuer(STACK_OF(X509) *chain)
{
    char        name[256];
    X509       *last = sk_X509_value(chain, sk_X509_num(chain) - 1);

    if (X509_NAME_get_text_by_NID(X509_get_issuer_name(last), NID_commonName, name,
                                  sizeof(name)) < 0)
    {
        return NULL;
    }

    return strdup(name);
}

static bool
is_preferred(const struct run *r, const char *pem)
{
    const char                          *why = NULL;
    CLEANUP(x509_chain) STACK_OF(X509)  *chain = NULL;
    CLEANUP(mem) char                   *name = NULL;

    chain = certctl_chain_from_pem(pem, strlen(pem), &why);
    name = chain ? last_issuer(chain) : NULL;

    return name && strcmp(name, acme_text(r->acme.ctx->config, "preferred_chain")) == 0;
}

/* The URL of <url>;rel="alternate" (RFC 8288), or NULL; free() it. */
static char *
alternate(const struct http_header *header)
{
    const char  *from = strchr(header->value, '<'), *to = from ? strchr(from, '>') : NULL;

    if (strcasecmp(header->name, "Link") != 0 || to == NULL
        || strstr(to, "rel=\"alternate\"") == NULL)
    {
        return NULL;
    }

    return strndup(from + 1, (size_t) (to - from - 1));
}

/* Another chain for the same certificate, if the configuration prefers it
 * (RFC 8555 7.4.2); what cannot be had is no reason to have none. */
static char *
preferred_chain(struct run *r, const struct http_response *first)
{
    CLEANUP(acme_answer) struct acme_answer  answer = { 0 };
    struct error                             ignored;

    for (size_t i = 0; i < first->nheaders; i++) {
        CLEANUP(mem) char  *url = alternate(&first->headers[i]);

        if (url && acme_post(&r->acme, url, NULL, &answer, &ignored)
            && is_preferred(r, answer.http.body))
        {
            return strdup(answer.http.body);
        }
    }

    return NULL;
}

static bool
download(struct run *r, const char *url)
{
    CLEANUP(acme_answer) struct acme_answer  answer = { 0 };

    if (!acme_post(&r->acme, url, NULL, &answer, &r->err)) {
        return error_prefix(&r->err, "certificate");
    }

    if (*acme_text(r->acme.ctx->config, "preferred_chain")
        && !is_preferred(r, answer.http.body))
    {
        r->ret->chain_pem = preferred_chain(r, &answer.http);
    }

    if (r->ret->chain_pem == NULL) {
        r->ret->chain_pem = strdup(answer.http.body);
    }

    return r->ret->chain_pem || error_set(&r->err, ERR_INTERNAL, "out of memory");
}

/* Whether the certificate has the key of our request. */
static bool
is_ours(const struct run *r)
{
    const char                          *why = NULL, *pem = r->ret->chain_pem;
    CLEANUP(x509_chain) STACK_OF(X509)  *chain = NULL;
    CLEANUP(x509_req) X509_REQ          *csr = NULL;

    chain = certctl_chain_from_pem(pem, strlen(pem), &why);
    csr = certctl_csr_from_pem(r->req->csr_pem, strlen(r->req->csr_pem), &why);

    return chain == NULL || csr == NULL
           || EVP_PKEY_eq(X509_get0_pubkey(sk_X509_value(chain, 0)),
                          X509_REQ_get0_pubkey(csr)) == 1;
}

static bool
phase_issue(struct run *r)
{
    CLEANUP(acme_answer) struct acme_answer  answer = { 0 };
    const char                              *status;

    if (!order_look(r, &answer)) {
        return false;
    }

    status = acme_text(answer.body, "status");

    if (strcmp(status, "processing") == 0) {
        return look_again(r, "issue", answer.http.retry_after);
    }

    if (strcmp(status, "ready") == 0) {
        return go_on(r, "finalize");
    }

    if (strcmp(status, "valid") != 0) {
        return order_refused(r, answer.body);
    }

    if (!download(r, acme_string(answer.body, "certificate"))) {
        return false;
    }

    if (!is_ours(r)) {
        free(r->ret->chain_pem);
        r->ret->chain_pem = NULL;
        return order_again(r);
    }

    return next(r, "issued", ISSUER_ISSUED, 0);
}

static const struct {
    const char  *name;
    bool       (*run)(struct run *r);
} phases[] = {
    { "directory",      phase_directory },
    { "account",        phase_account },
    { "register_again", phase_register_again },
    { "order",          phase_order },
    { "authorize",      phase_authorize },
    { "answer",         phase_answer },
    { "validate",       phase_validate },
    { "finalize",       phase_finalize },
    { "issue",          phase_issue },
};

static bool
run_phase(struct run *r)
{
    const char  *phase = acme_string(r->state, "phase");

    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        if (strcmp(phases[i].name, phase ? phase : phases[0].name) == 0) {
            return phases[i].run(r);
        }
    }

    return error_set(&r->err, ERR_INTERNAL, "the order's state has an unknown phase");
}

void
acme_step(const struct issuer_context *ctx, const json_t *state,
    const struct issuer_request *req, struct issuer_step *ret)
{
    struct run   r = { .req = req, .ret = ret };
    const char  *nonce;

    r.state = state ? json_deep_copy(state) : json_object();
    r.acme.directory = json_object_get(r.state, "directory");
    nonce = acme_string(r.state, "nonce");
    r.acme.nonce = nonce ? strdup(nonce) : NULL;
    json_object_del(r.state, "nonce");

    if (acme_open(&r.acme, ctx, &r.err) && run_phase(&r)) {

        /* one round trip less; a nonce that was used before a kill is refused, and
           another one is asked for */
        if (r.acme.nonce) {
            json_object_set_new(r.state, "nonce", json_string(r.acme.nonce));
        }

        ret->state = json_incref(r.state);

    } else {
        issuer_step_failed(ret, &r.err);
        ret->problem = json_incref(r.acme.problem);
    }

    json_decref(r.state);
    acme_close(&r.acme);
}
