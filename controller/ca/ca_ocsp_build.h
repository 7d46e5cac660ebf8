/* An OCSP response while it is made: begin, add each certificate, finish. */
#pragma once
#include "ca_build.h"

#include <openssl/ocsp.h>

CLEANUP_FUNC(ocsp_certid, OCSP_CERTID *, OCSP_CERTID_free)
CLEANUP_FUNC(ocsp_request, OCSP_REQUEST *, OCSP_REQUEST_free)
CLEANUP_FUNC(ocsp_response, OCSP_RESPONSE *, OCSP_RESPONSE_free)

struct ca_ocsp_reply {
    const struct ca  *ca;              /* whose responder signs */
    OCSP_BASICRESP   *basic;
    time_t            this_update;
    time_t            next_update;
    bool              nonce;
};

static inline void
ocsp_reply_cleanup(struct ca_ocsp_reply *reply)
{
    OCSP_BASICRESP_free(reply->basic);
}

/* ERR_INVALID when ca may not sign OCSP, ERR_UNAVAILABLE when its signer expired. */
bool ca_ocsp_begin(struct ca_ocsp_reply *reply, const struct ca *ca, time_t now,
    int life, struct error *err);
bool ca_ocsp_add(struct ca_ocsp_reply *reply, OCSP_CERTID *id,
    const struct ca_ocsp_status *status, struct error *err);
bool ca_ocsp_finish(struct ca_ocsp_reply *reply, struct ca_ocsp_answer *ret,
    struct error *err);
