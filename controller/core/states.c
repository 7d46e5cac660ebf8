/*
 * The states of certificates, orders, renewal attempts, jobs and fleet CAs, and what leads from
 * one to another.  The database has the same rows and refuses any other change.
 *
 * To add one: 1. a row here; 2. the same in a new file of sql/schema, with the CHECK
 * constraint of a new state; t/14-states.t compares them.
 */
#include "states.h"
#include "sql_core.h"

#include <stddef.h>
#include <string.h>

/*
 * What the world sees of a managed certificate; "date" is what the expiry loop
 * finds.  Actions that keep the state stand here too: each asks certificate_may().
 */
const struct transition  certificate_transitions[] = {
    { "Pending", "renew", "RenewalInProgress" },
    { "Active", "renew", "RenewalInProgress" },
    { "Expiring", "renew", "RenewalInProgress" },
    { "Expired", "renew", "RenewalInProgress" },
    { "Failed", "renew", "RenewalInProgress" },
    { "RenewalInProgress", "renew", "RenewalInProgress" },
    { "Pending", "deploy", "Active" },
    { "Active", "deploy", "Active" },
    { "Expiring", "deploy", "Active" },
    { "Expired", "deploy", "Active" },
    { "Failed", "deploy", "Active" },
    { "RenewalInProgress", "deploy", "Active" },
    { "RenewalInProgress", "cancel", "Pending" },
    { "RenewalInProgress", "cancel", "Active" },
    { "RenewalInProgress", "cancel", "Expired" },
    { "Pending", "fail", "Active" },
    { "Pending", "fail", "Expiring" },
    { "Pending", "fail", "Expired" },
    { "Pending", "fail", "Failed" },
    { "RenewalInProgress", "fail", "Active" },
    { "RenewalInProgress", "fail", "Expiring" },
    { "RenewalInProgress", "fail", "Expired" },
    { "RenewalInProgress", "fail", "Failed" },
    { "Failed", "fail", "Active" },
    { "Failed", "fail", "Expiring" },
    { "Failed", "fail", "Expired" },
    { "Active", "fail", "Failed" },
    { "Expiring", "fail", "Failed" },
    { "Expired", "fail", "Failed" },
    { "Active", "date", "Expiring" },
    { "Active", "date", "Expired" },
    { "Expiring", "date", "Active" },
    { "Expiring", "date", "Expired" },
    { "Expired", "date", "Active" },
    { "Expired", "date", "Expiring" },
    { "RenewalInProgress", "date", "Active" },
    { "RenewalInProgress", "date", "Expiring" },
    { "RenewalInProgress", "date", "Expired" },
    { "Pending", "revoke", "Revoked" },
    { "Active", "revoke", "Revoked" },
    { "Expiring", "revoke", "Revoked" },
    { "Expired", "revoke", "Revoked" },
    { "Failed", "revoke", "Revoked" },
    { "RenewalInProgress", "revoke", "Revoked" },
    { "Pending", "archive", "Archived" },
    { "Active", "archive", "Archived" },
    { "Expiring", "archive", "Archived" },
    { "Expired", "archive", "Archived" },
    { "Failed", "archive", "Archived" },
    { "RenewalInProgress", "archive", "Archived" },
    { "Revoked", "archive", "Archived" },
    { "Pending", "change", "Pending" },
    { "Active", "change", "Active" },
    { "Expiring", "change", "Expiring" },
    { "Expired", "change", "Expired" },
    { "RenewalInProgress", "change", "RenewalInProgress" },
    { "Failed", "change", "Failed" },
    { "Revoked", "change", "Revoked" },
    { "Pending", "claim", "Pending" },
    { "Active", "claim", "Active" },
    { "Expiring", "claim", "Expiring" },
    { "Expired", "claim", "Expired" },
    { "RenewalInProgress", "claim", "RenewalInProgress" },
    { "Failed", "claim", "Failed" },
    { "Archived", "restore", "Pending" },
    { "Archived", "restore", "Active" },
    { "Archived", "restore", "Expiring" },
    { "Archived", "restore", "Expired" },
    { "Archived", "restore", "Revoked" },
    { NULL, NULL, NULL }
};

/* One key and certificate for one target.  A failed one may still be deployed: its
 * target was removed and added again. */
const struct transition  order_transitions[] = {
    { "new", "request", "ready" },
    { "ready", "issue", "issued" },
    { "issued", "deploy", "deployed" },
    { "failed", "deploy", "deployed" },
    { "new", "withdraw", "failed" },
    { "ready", "withdraw", "failed" },
    { "issued", "withdraw", "failed" },
    { NULL, NULL, NULL }
};

/* One try at renewing.  A deployment that is late completes an attempt that failed;
 * one target's failure does not stop the others, whose job starts it again. */
const struct transition  attempt_transitions[] = {
    { "awaiting_change_approval", "approve", "pending" },
    { "pending", "start", "in_progress" },
    { "failed", "start", "in_progress" },
    { "pending", "complete", "completed" },
    { "in_progress", "complete", "completed" },
    { "failed", "complete", "completed" },
    { "pending", "fail", "failed" },
    { "in_progress", "fail", "failed" },
    { "pending", "cancel", "failed" },
    { "in_progress", "cancel", "failed" },
    { "awaiting_change_approval", "cancel", "failed" },
    { "in_progress", "roll_back", "rolled_back" },
    { "failed", "roll_back", "rolled_back" },
    { "pending", "supersede", "superseded" },
    { "in_progress", "supersede", "superseded" },
    { "awaiting_change_approval", "supersede", "superseded" },
    { NULL, NULL, NULL }
};

/* One piece of work.  The last three are states of job_history. */
const struct transition  job_transitions[] = {
    { "Pending", "claim", "Running" },
    { "Running", "repeat", "Pending" },
    { "Running", "lose", "Pending" },
    { "AwaitingApproval", "approve", "Pending" },
    { "Running", "await_csr", "AwaitingCSR" },
    { "AwaitingCSR", "receive_csr", "Pending" },
    { "Running", "finish", "Completed" },
    { "Running", "fail", "Failed" },
    { "Pending", "cancel", "Cancelled" },
    { "AwaitingCSR", "cancel", "Cancelled" },
    { "AwaitingApproval", "cancel", "Cancelled" },
    { "Running", "cancel", "Cancelled" },
    { NULL, NULL, NULL }
};

/* A fleet CA, from the day on which hosts learn it until nobody trusts it. */
const struct transition  authority_transitions[] = {
    { "next", "use", "current" },
    { "next", "withdraw", "withdrawn" },
    { "current", "succeed", "previous" },
    { "previous", "withdraw", "withdrawn" },
    { NULL, NULL, NULL }
};

bool
state_allows(const struct transition *table, const char *from, const char *event)
{
    while (table->from
           && (strcmp(table->from, from) != 0 || strcmp(table->event, event) != 0))
    {
        table++;
    }

    return table->from != NULL;
}

/* What an action does to a certificate, and how a state that forbids it is left. */
static const struct { const char *name, *text; } participles[] = {
    { "renew", "renewed" }, { "deploy", "deployed" }, { "revoke", "revoked" },
    { "archive", "archived" }, { "restore", "restored" }, { "change", "changed" },
    { "claim", "given an observed certificate" },
    { NULL, "changed" }
}, remedies[] = {
    { "Revoked", "; create a new certificate" }, { "Archived", "; restore it first" },
    { NULL, "" }
};

bool
certificate_may(const char *id, const char *status, const char *action,
    struct error *err)
{
    size_t  a = 0, r = 0;

    if (state_allows(certificate_transitions, status, action)) {
        return true;
    }

    while (participles[a].name && strcmp(participles[a].name, action) != 0) {
        a++;
    }

    while (remedies[r].name && strcmp(remedies[r].name, status) != 0) {
        r++;
    }

    return error_set(err, ERR_CONFLICT, "certificate %s is %s: it cannot be %s%s", id,
                     status, participles[a].text, remedies[r].text);
}

bool
certificate_allows(const struct core *c, const char *id, const char *action,
    struct error *err)
{
    CLEANUP(mem) char  *status = DB_VALUE(c->db, err, SQL_CERTIFICATE_STATUS, id);

    if (status == NULL && err->code == ERR_NOT_FOUND) {
        return error_not_found(err, "certificate", id);
    }

    return status && certificate_may(id, status, action, err);
}
