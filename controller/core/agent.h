/* Hosts that run the module: first contact and revocation. */
#pragma once
#include "core.h"

/*
 * After the row is there: an Enrolment job that meets the module by its pinned
 * fingerprint, has it make an identity key and installs a certificate of the
 * fleet CA.
 */
bool agent_enrol(const struct core *c, const char *agent_id, struct error *err);

/* How a host is brought back.  All borrowed; NULL: it has not changed. */
struct agent_recovery {
    const char  *fingerprint;       /* of its new listener, when its store is lost */
    const char  *url;               /* its new address */
    const char  *reason;
    bool         override_limit;    /* its renewals do not count for the daily limit */
};

/*
 * The host is polled now, or registered again when its fingerprint or url is
 * another.  What its first report shows to be missing is renewed.  *ret is the
 * answer.  CONFLICT for a retired one.
 */
bool agent_recover(const struct core *c, const char *agent_id,
    const struct agent_recovery *how, json_t **ret, struct error *err);

/* The first report of such a host is stored: renewals are asked for, in w's
 * transaction tx. */
struct work;
bool agent_recovered(struct work *w, struct db *tx, struct error *err);

/*
 * The host is retired and its identity never met again; every certificate for a
 * key that it has is revoked, and those that other hosts serve too are renewed
 * there.  *ret says which.  CONFLICT when it is revoked already.
 */
bool agent_revoke(const struct core *c, const char *agent_id, const char *reason,
    json_t **ret, struct error *err);
