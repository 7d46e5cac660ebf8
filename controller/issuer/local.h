/* The local CA as an issuer, and what serves its CRL and OCSP needs of it. */
#pragma once
#include "ca.h"
#include "issuer.h"

extern const struct issuer  issuer_local;

/*
 * The authority of a configuration that prepare() has accepted, with its OCSP
 * responder while that one is good; ca_free() it.
 */
struct ca *local_ca(const json_t *config, time_t now, struct error *err);

/* Seconds from now to nextUpdate of an OCSP response. */
int local_ocsp_life(const json_t *config);

/* Whether prepare() should run again soon: half of the root's life is over, or the
 * OCSP responder is missing or near its end.  In good time: no response names a
 * nextUpdate after that. */
bool local_prepare_due(const json_t *config, time_t now);
