/* OCSP over HTTP (RFC 6960 A.1), with the caching that RFC 5019 6 asks for. */
#include "enroll.h"
#include "pki_issuer.h"
#include "sql_pki.h"

#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Until a revocation is seen by those behind a cache; far before nextUpdate. */
#define OCSP_MAX_AGE  "max-age=3600, public, no-transform, must-revalidate"

struct lookup {
    struct request  *r;
    const char      *issuer;
};

static bool
ocsp_lookup(const struct ca *ca, const char *serial, struct ca_ocsp_status *ret,
    void *data, struct error *err)
{
    const struct lookup         *lookup = data;
    CLEANUP(pgresult) PGresult  *row = NULL;

    (void) ca;
    row = DB_EXEC(lookup->r->db, err, SQL_PKI_STATUS, lookup->issuer, serial);

    if (row == NULL) {
        return false;
    }

    *ret = (struct ca_ocsp_status) { .state = CA_OCSP_UNKNOWN };

    if (PQntuples(row)) {
        ret->state = PQgetisnull(row, 0, 0) ? CA_OCSP_GOOD : CA_OCSP_REVOKED;
        ret->revoked_at = strtoll(PQgetvalue(row, 0, 0), NULL, 10);
        ret->reason = (int) strtol(PQgetvalue(row, 0, 1), NULL, 10);
    }

    return true;
}

/* A nonce's answer is for one; a refusal may be over in a moment. */
static bool
ocsp_reply(struct request *r, struct ca_ocsp_answer *answer)
{
    bool  keep = answer->status == OCSP_RESPONSE_STATUS_SUCCESSFUL
                 && !answer->nonce && strcmp(r->method, "POST") != 0;

    r->content_type = "application/ocsp-response";
    rest_header(r, "Cache-Control", keep ? OCSP_MAX_AGE : "no-store");

    if (keep) {
        pki_header_time(r, "Last-Modified", answer->this_update);
        pki_header_time(r, "Expires", answer->next_update);
    }

    rest_reply_text(r, (char *) answer->der, answer->len);
    OPENSSL_free(answer->der);

    return true;
}

static bool
ocsp_answer(struct request *r, const unsigned char *der, size_t len)
{
    struct error               why = { 0 };
    struct ca_ocsp_answer      answer;
    struct lookup              lookup = { r, r->args[0] };
    const struct ca           *cas[] = { NULL, NULL };
    const struct pki_issuer   *issuer = pki_issuer_open(r, r->args[0]);

    if (issuer == NULL) {
        return false;
    }

    cas[0] = issuer->ca;

    if (!ca_ocsp_answer(cas, der, len, time(NULL), issuer->ocsp_life, ocsp_lookup,
                        &lookup, &answer, &why))
    {
        r->err = why;
        return pki_failed(r, r->args[0]);
    }

    if (why.code != ERR_NONE) {
        r->err = why;
        pki_failed(r, r->args[0]);
        r->err = (struct error) { 0 };
    }

    return ocsp_reply(r, &answer);
}

/* A person's way to ask: what the certificate viewer shows, as a path. */
static bool
ocsp_for_serial(struct request *r, const char *text)
{
    char                       serial[CA_SERIAL_HEX];
    struct ca_ocsp_status      status;
    struct ca_ocsp_answer      answer;
    struct lookup              lookup = { r, r->args[0] };
    const struct pki_issuer   *issuer;

    if (!ca_serial_read(text, serial, &r->err)) {
        r->err.code = ERR_MALFORMED;
        return false;
    }

    issuer = pki_issuer_open(r, r->args[0]);

    if (issuer == NULL
        || !ocsp_lookup(issuer->ca, serial, &status, &lookup, &r->err))
    {
        return false;
    }

    if (!ca_ocsp_for(issuer->ca, serial, &status, time(NULL), issuer->ocsp_life,
                     &answer, &r->err))
    {
        return pki_failed(r, r->args[0]);
    }

    return ocsp_reply(r, &answer);
}

/* -1 unless text is base64 (RFC 4648 4); its padding may be left out. */
static int
base64_decode(const char *text, unsigned char *out, size_t size)
{
    size_t                 len = strcspn(text, "="), padded = (len + 3) / 4 * 4;
    char                   whole[CA_OCSP_REQUEST_MAX];
    int                    n;

    if (len % 4 == 1 || text[len + strspn(text + len, "=")] != '\0'
        || padded >= sizeof(whole) || padded / 4 * 3 > size)
    {
        return -1;
    }

    memcpy(whole, text, len);
    memset(whole + len, '=', padded - len);

    n = EVP_DecodeBlock(out, (unsigned char *) whole, (int) padded);

    return n < 0 ? -1 : n - (int) (padded - len);
}

/* Hex alone is a serial: base64 of a SEQUENCE begins with "M". */
bool
enroll_ocsp_get(struct request *r)
{
    const char     *text = r->args[1];
    unsigned char   der[CA_OCSP_REQUEST_MAX];
    int             len;

    if (strspn(text, "0123456789abcdefABCDEF") == strlen(text)) {
        return ocsp_for_serial(r, text);
    }

    len = base64_decode(text, der, sizeof(der));

    return ocsp_answer(r, der, len < 0 ? 0 : (size_t) len);
}

bool
enroll_ocsp_post(struct request *r)
{
    const char  *type = rest_request_header(r, "Content-Type");

    if (type == NULL
        || strncasecmp(type, "application/ocsp-request",
                       strlen("application/ocsp-request")) != 0)
    {
        return error_set(&r->err, ERR_MEDIA_TYPE, "RFC 6960 A.1: the body is "
                         "application/ocsp-request");
    }

    return ocsp_answer(r, r->raw, r->raw_len);
}
