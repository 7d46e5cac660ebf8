/* OCSP responses for live certificates: obtained, checked, pushed. */
#pragma once
#include "link.h"
#include "x509_ocsp.h"

/*
 * Gets a response for the leaf of chain_pem - signed here when issuer_id (or
 * NULL) names a CA of ours, else from the responder that it names - and puts it
 * on the agent.  NOT_FOUND: it names no responder, nothing to staple.
 */
bool staple_push(struct work *w, const struct target *target,
    const struct target_link *link, const char *chain_pem,
    const char *issuer_id, time_t revoked_at, int reason, struct error *err);
