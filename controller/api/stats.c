/* Counts of the dashboard. */
#include "api.h"
#include "resource_fields.h"
#include "sql_stats.h"

#include <string.h>

static const struct field  summary_fields[] = {
    FIELD_READ("total_certificates", T_INT, "not archived"),
    FIELD_READ("expiring_certificates", T_INT, "status Expiring: at most 30 days are left, or a "
               "third of a lifetime below 90 days"),
    FIELD_READ("expired_certificates", T_INT, "too late"),
    FIELD_READ("revoked_certificates", T_INT, "revoked"),
    FIELD_READ("live_certificates", T_INT, "clients get them from every host"),
    FIELD_READ("partly_live_certificates", T_INT, "clients of some hosts or names do not get them"),
    FIELD_READ("not_live_certificates", T_INT, "deployed, but clients do not get them"),
    FIELD_READ("live_unknown_certificates", T_INT,
               "not deployed yet, or their hosts do not answer"),
    FIELD_READ("certificates_without_target", T_INT, "without an enabled target: nothing "
               "renews them"),
    FIELD_READ("uncovered_certificates", T_INT, "no active renewal policy applies to them: they "
               "are not renewed"),
    FIELD_READ("active_agents", T_INT, "Online"),
    FIELD_READ("offline_agents", T_INT, "Offline or Degraded"),
    FIELD_READ("total_agents", T_INT, "not retired"),
    FIELD_READ("pending_jobs", T_INT, "open"),
    FIELD_READ("failed_jobs", T_INT, "failed in the last 24 hours"),
    FIELD_READ("complete_jobs", T_INT, "completed in the last 24 hours"),
    FIELD_READ("notifications_dead", T_INT, "given up"),
    FIELD_READ("completed_at", T_TIME, "when it was counted"),
    { 0 }
};

const struct resource  stats_summary_resource = {
    .name = "stats", .schema = "DashboardSummary", .fields = summary_fields
};

bool
stats_summary(struct request *r)
{
    CLEANUP(mem) char  *text = DB_VALUE(r->db, &r->err, SQL_STATS_SUMMARY);

    return text && rest_reply_text(r, text, strlen(text));
}
