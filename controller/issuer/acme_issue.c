/* An order from finalize to its certificate (RFC 8555 7.4). */
#include "acme_run.h"

#include "jose.h"
#include "ossl.h"
#include "x509_chain.h"
#include "x509_key.h"

#include <string.h>

#define ORDERS_MAX  5            /* new orders when another one has used ours */

/* The order as the CA has it. */
static bool
order_look(struct acme_run *r, struct acme_answer *ret)
{
    return (acme_post(&r->acme, acme_string(r->state, "order"), NULL, ret, &r->err)
            && acme_status(r, ret)) || error_prefix(&r->err, "order");
}

/* RFC 8555 7.1.3: an order that is invalid has an error, or its authorizations do. */
static bool
order_refused(struct acme_run *r, const json_t *order)
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
order_again(struct acme_run *r)
{
    if (acme_count(r, "again") >= ORDERS_MAX) {
        return error_set(&r->err, ERR_UNAVAILABLE, "other orders of this account have used "
                         "the CA's order for the same names %d times", ORDERS_MAX);
    }

    acme_set_count(r, "again", acme_count(r, "again") + 1);

    return acme_go_on(r, "order");
}

static char *
request_text(struct acme_run *r)
{
    const char                       *why = NULL;
    CLEANUP(x509_req) X509_REQ       *csr = NULL;
    CLEANUP(ossl_buf) unsigned char  *der = NULL;
    int                               len;

    csr = certctl_csr_from_pem(r->req->csr_pem, strlen(r->req->csr_pem), &why);
    len = csr ? i2d_X509_REQ(csr, &der) : -1;

    if (len <= 0) {
        error_set(&r->err, ERR_INVALID, "certification request: %s", why ? why : "no DER");
        return NULL;
    }

    return jose_encode(der, (size_t) len);
}

static bool
finalize(struct acme_run *r)
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
           ? acme_go_on(r, "issue") : acme_look_again(r, "issue", answer.http.retry_after);
}

/* A kill may have come behind the request: then the order is ours, or the key of its
 * certificate says that it is not. */
bool
acme_finalize(struct acme_run *r)
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
        return acme_look_again(r, "finalize", answer.http.retry_after);
    }

    if (!field_word_in("processing valid", status)) {
        return order_refused(r, answer.body);
    }

    return r->acme.ctx->resumed ? acme_go_on(r, "issue") : order_again(r);
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
is_preferred(const struct acme_run *r, const char *pem)
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
preferred_chain(struct acme_run *r, const struct http_response *first)
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
download(struct acme_run *r, const char *url)
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
is_ours(const struct acme_run *r)
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

bool
acme_issue(struct acme_run *r)
{
    CLEANUP(acme_answer) struct acme_answer  answer = { 0 };
    const char                              *status;

    if (!order_look(r, &answer)) {
        return false;
    }

    status = acme_text(answer.body, "status");

    if (strcmp(status, "processing") == 0) {
        return acme_look_again(r, "issue", answer.http.retry_after);
    }

    if (strcmp(status, "ready") == 0) {
        return acme_go_on(r, "finalize");
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

    return acme_next(r, "issued", ISSUER_ISSUED, 0);
}
