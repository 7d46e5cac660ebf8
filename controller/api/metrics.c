/* What a monitoring system reads. */
#include "api.h"
#include "sql_metrics.h"

#include <string.h>

bool
metrics_prometheus(struct request *r)
{
    CLEANUP(mem) char  *text = DB_VALUE(r->db, &r->err, SQL_METRICS_PROMETHEUS);

    if (text == NULL) {
        return false;
    }

    r->content_type = "text/plain; version=0.0.4";

    return rest_reply_text(r, text, strlen(text));
}
