/* An issuer's authority, for the handlers of this room. */
#pragma once
#include "ca.h"
#include "rest.h"

struct pki_issuer {
    struct ca  *ca;
    int         ocsp_life;             /* seconds */
};

/*
 * The authority, borrowed until the next call; kept by the thread for as long as
 * the issuer's row does not change, at most a minute.  r->err: NOT_FOUND,
 * UNSUPPORTED for an issuer whose keys are elsewhere, UNAVAILABLE without the
 * database, else INTERNAL: the reason is in the log.
 */
const struct pki_issuer *pki_issuer_open(struct request *r, const char *id);

/* Logs r->err and leaves an INTERNAL that tells a stranger nothing; false. */
bool pki_failed(struct request *r, const char *id);

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 5.6.7). */
void pki_header_time(struct request *r, const char *name, time_t when);
