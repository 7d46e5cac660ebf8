/* OCSP requests of strangers: each gets an answer that a client can read. */
#include "fuzz.h"
#include "ca.h"

#include <openssl/ocsp.h>

static bool
look_up(const struct ca *ca, const char *serial, struct ca_ocsp_status *ret,
    void *data, struct error *err)
{
    (void) ca;
    (void) data;

    FUZZ_MUST(*serial && strlen(serial) < CA_SERIAL_HEX);

    if (strcmp(serial, "1000") == 0) {
        *ret = (struct ca_ocsp_status) { .state = CA_OCSP_GOOD };

    } else if (serial[0] == '2') {
        *ret = (struct ca_ocsp_status) { CA_OCSP_REVOKED, FUZZ_NOW, 1 };

    } else if (serial[0] == '3') {
        return error_set(err, ERR_UNAVAILABLE, "the database is away");

    } else {
        *ret = (struct ca_ocsp_status) { .state = CA_OCSP_UNKNOWN };
    }

    return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct ca               ca = { .cert = fuzz_ca()->cert, .key = fuzz_ca()->key };
    const struct ca        *cas[] = { &ca, NULL };
    struct ca_ocsp_answer   answer;
    struct error            err = { 0 };
    const unsigned char    *p;
    OCSP_RESPONSE          *resp;

    FUZZ_MUST(ca_ocsp_answer(cas, data, len, FUZZ_NOW, 3600, look_up, NULL,
                             &answer, &err));
    p = answer.der;
    resp = d2i_OCSP_RESPONSE(NULL, &p, (long) answer.len);
    FUZZ_MUST(resp && OCSP_response_status(resp) == answer.status);
    FUZZ_MUST(answer.status != OCSP_RESPONSE_STATUS_INTERNALERROR);

    OCSP_RESPONSE_free(resp);
    OPENSSL_free(answer.der);
    ERR_clear_error();

    return 0;
}
