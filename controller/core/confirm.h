/* Deployed means seen: the module's report and a handshake with each listener. */
#pragma once
#include "link.h"

struct confirm_result {
    int     listeners;       /* that were looked at */
    int     stapled;         /* of them, with an OCSP response */
    double  ms;              /* of the first handshake */
};

/*
 * Looks at every listener of every server block that serves record; each must
 * show fingerprint, and a staple when one was pushed.  probe is "host:port"
 * from the target's configuration, or NULL.  Else ERR_PEER with what was seen.
 */
bool confirm_live(struct work *w, const struct target *target,
    const struct agent_row *agent, const char *record, const char *name,
    const char *fingerprint, const char *probe, bool want_staple,
    struct confirm_result *ret, struct error *err);
