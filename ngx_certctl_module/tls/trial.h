
/*
 * Trial handshakes before a certificate is stored: tls/trial.c.
 */

#ifndef _NGX_CERTCTL_TRIAL_H_INCLUDED_
#define _NGX_CERTCTL_TRIAL_H_INCLUDED_


#include "cert/certctl.h"
#include "x509_accept.h"


/*
 * NULL when at least one of the servers for which record name would be selected
 * can complete handshakes with chain and key (DER), or there is none; then
 * *warning is NULL, or says which clients or servers cannot.  Else the rule.
 * Both are certctl_rule()'s.  On a thread.
 */
const char *ngx_certctl_trial(ngx_certctl_t *certctl, const char *name,
    const struct certctl_accepted *chain, certctl_blob_t *key,
    const char **warning);


#endif /* _NGX_CERTCTL_TRIAL_H_INCLUDED_ */
