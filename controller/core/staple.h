/* OCSP responses for live certificates: obtained, checked, remembered. */
#pragma once
#include "link.h"
#include "x509_info.h"
#include "x509_ocsp.h"

struct staple {
    STACK_OF(X509)            *chain;
    struct certctl_x509_info   leaf;
    unsigned char             *der;        /* NULL: none */
    size_t                     len;
    struct certctl_ocsp_info   info;
};

void staple_free(struct staple *staple);

static inline void
staple_cleanup(struct staple *staple)
{
    staple_free(staple);
}

/*
 * A response for the leaf of chain_pem that may be stapled now, or says that it is
 * revoked (info.status): signed here when issuer_id (or NULL) names a CA of ours,
 * else from the responder that the certificate names.  NOT_FOUND: it names none.
 */
bool staple_get(struct work *w, const char *chain_pem, const char *issuer_id,
    time_t revoked_at, int reason, struct staple *ret, struct error *err);

/* Remembers that agent_id has it, and when to look for the next. */
bool staple_record(struct work *w, const char *agent_id,
    const struct staple *staple, struct error *err);
