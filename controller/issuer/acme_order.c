/*
 * An ACME order, one phase a step (RFC 8555 7.1.6).  The state has the URLs that
 * the CA has given, so that a step after a kill goes on with the same order.
 */
#include "acme_run.h"

#include "jose.h"
#include "ossl.h"
#include "x509_key.h"

#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#define LOOKUP_MAX   20          /* newest orders of an account to compare */

CLEANUP_FUNC(json_ref, json_t *, json_decref)

/* The profile that the order asks for, if the CA offers it. */
static bool
choose_profile(struct acme_run *r, const json_t *directory)
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
check_names(struct acme_run *r)
{
    return strstr(r->req->sans, "DNS:*.") == NULL
           || error_set(&r->err, ERR_INVALID, "%s cannot prove a wildcard name "
                        "(RFC 8555 7.1.4)", acme_challenge_type(r));
}

static bool
phase_directory(struct acme_run *r)
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

    return acme_go_on(r, "account");
}

static json_t *
new_account(const struct acme_run *r)
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
phase_account(struct acme_run *r)
{
    CLEANUP(acme_answer) struct acme_answer  answer = { 0 };
    const struct issuer_context             *ctx = r->acme.ctx;

    if (r->acme.account_url) {
        return acme_go_on(r, "order");
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

        return acme_go_on(r, "order");
    }

    if (ctx->account_held) {
        r->ret->account = new_account(r);

        if (r->ret->account == NULL) {
            return error_set_ossl(&r->err, ERR_INTERNAL, "account key");
        }
    }

    return acme_next(r, "account", ISSUER_ACCOUNT, 0);
}

/* The CA does not know the account: it is registered again with the same key. */
static bool
phase_register_again(struct acme_run *r)
{
    if (!r->acme.ctx->account_held) {
        return acme_next(r, "register_again", ISSUER_ACCOUNT, 0);
    }

    r->ret->account = json_deep_copy(r->acme.ctx->account);
    json_object_del(r->ret->account, "url");

    return acme_next(r, "account", ISSUER_ACCOUNT, 0);
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
take_order(struct acme_run *r, const char *url, const json_t *body)
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
    acme_set_count(r, "at", 0);

    return acme_go_on(r, "authorize");
}

/*
 * After a kill the CA may have the order already.  True when it is found, in the
 * list that RFC 8555 7.1.2.1 describes and some CAs have; of those that do not,
 * most answer an identical newOrder with the order that is pending.
 */
static bool
find_order(struct acme_run *r, const json_t *wanted)
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
phase_order(struct acme_run *r)
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

    if (r->acme.no_account && acme_count(r, "registered") == 0) {
        acme_set_count(r, "registered", 1);
        return acme_go_on(r, "register_again");
    }

    return error_prefix(&r->err, "order");
}

static const struct {
    const char  *name;
    bool       (*run)(struct acme_run *r);
} phases[] = {
    { "directory",      phase_directory },
    { "account",        phase_account },
    { "register_again", phase_register_again },
    { "order",          phase_order },
    { "authorize",      acme_authorize },
    { "answer",         acme_answer_challenges },
    { "validate",       acme_validate },
    { "finalize",       acme_finalize },
    { "issue",          acme_issue },
};

static bool
run_phase(struct acme_run *r)
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
    struct acme_run   r = { .req = req, .ret = ret };
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
