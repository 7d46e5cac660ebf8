/* What comes from a host or a CA is checked before it is used or stored. */
#pragma once
#include "error.h"
#include "issuer.h"
#include "x509_info.h"

/* The host's request: self-signed, of the ordered key type, for just sans. */
bool order_verify_csr(const char *csr_pem, const char *sans,
    const char *key_type, struct error *err);

/* The CA's chain: fits the request's key and names, is valid now; fills info
 * from its leaf. */
bool order_verify_chain(const char *chain_pem, const struct issuer_request *req,
    struct certctl_x509_info *info, struct error *err);
