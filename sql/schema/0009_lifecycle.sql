-- What may happen to certificates, orders, renewal attempts and jobs: the rows of
-- controller/core/states.c. Any other change of a state is refused here, whoever
-- asks for it.
CREATE TABLE transitions (
    machine  text NOT NULL,
    source   text NOT NULL,
    event    text NOT NULL,
    target   text NOT NULL,
    PRIMARY KEY (machine, source, target, event)
);
INSERT INTO transitions (machine, source, event, target) VALUES
    ('certificate', 'Pending', 'renew', 'RenewalInProgress'), ('certificate', 'Active', 'renew', 'RenewalInProgress'),
    ('certificate', 'Expiring', 'renew', 'RenewalInProgress'), ('certificate', 'Expired', 'renew', 'RenewalInProgress'),
    ('certificate', 'Failed', 'renew', 'RenewalInProgress'), ('certificate', 'RenewalInProgress', 'renew', 'RenewalInProgress'),
    ('certificate', 'Pending', 'deploy', 'Active'), ('certificate', 'Active', 'deploy', 'Active'),
    ('certificate', 'Expiring', 'deploy', 'Active'), ('certificate', 'Expired', 'deploy', 'Active'),
    ('certificate', 'Failed', 'deploy', 'Active'), ('certificate', 'RenewalInProgress', 'deploy', 'Active'),
    ('certificate', 'RenewalInProgress', 'cancel', 'Pending'), ('certificate', 'RenewalInProgress', 'cancel', 'Active'),
    ('certificate', 'RenewalInProgress', 'cancel', 'Expired'), ('certificate', 'Pending', 'fail', 'Active'),
    ('certificate', 'Pending', 'fail', 'Expiring'), ('certificate', 'Pending', 'fail', 'Expired'),
    ('certificate', 'Pending', 'fail', 'Failed'), ('certificate', 'RenewalInProgress', 'fail', 'Active'),
    ('certificate', 'RenewalInProgress', 'fail', 'Expiring'), ('certificate', 'RenewalInProgress', 'fail', 'Expired'),
    ('certificate', 'RenewalInProgress', 'fail', 'Failed'), ('certificate', 'Failed', 'fail', 'Active'),
    ('certificate', 'Failed', 'fail', 'Expiring'), ('certificate', 'Failed', 'fail', 'Expired'),
    ('certificate', 'Active', 'fail', 'Failed'), ('certificate', 'Expiring', 'fail', 'Failed'),
    ('certificate', 'Expired', 'fail', 'Failed'), ('certificate', 'Active', 'date', 'Expiring'),
    ('certificate', 'Active', 'date', 'Expired'), ('certificate', 'Expiring', 'date', 'Active'),
    ('certificate', 'Expiring', 'date', 'Expired'), ('certificate', 'Expired', 'date', 'Active'),
    ('certificate', 'Expired', 'date', 'Expiring'), ('certificate', 'RenewalInProgress', 'date', 'Active'),
    ('certificate', 'RenewalInProgress', 'date', 'Expiring'), ('certificate', 'RenewalInProgress', 'date', 'Expired'),
    ('certificate', 'Pending', 'revoke', 'Revoked'), ('certificate', 'Active', 'revoke', 'Revoked'),
    ('certificate', 'Expiring', 'revoke', 'Revoked'), ('certificate', 'Expired', 'revoke', 'Revoked'),
    ('certificate', 'Failed', 'revoke', 'Revoked'), ('certificate', 'RenewalInProgress', 'revoke', 'Revoked'),
    ('certificate', 'Pending', 'archive', 'Archived'), ('certificate', 'Active', 'archive', 'Archived'),
    ('certificate', 'Expiring', 'archive', 'Archived'), ('certificate', 'Expired', 'archive', 'Archived'),
    ('certificate', 'Failed', 'archive', 'Archived'), ('certificate', 'RenewalInProgress', 'archive', 'Archived'),
    ('certificate', 'Revoked', 'archive', 'Archived'),
    ('order', 'new', 'request', 'ready'), ('order', 'ready', 'issue', 'issued'), ('order', 'issued', 'deploy', 'deployed'),
    ('order', 'failed', 'deploy', 'deployed'), ('order', 'new', 'withdraw', 'failed'), ('order', 'ready', 'withdraw', 'failed'),
    ('order', 'issued', 'withdraw', 'failed'),
    ('attempt', 'awaiting_change_approval', 'approve', 'pending'), ('attempt', 'pending', 'start', 'in_progress'),
    ('attempt', 'failed', 'start', 'in_progress'), ('attempt', 'pending', 'complete', 'completed'),
    ('attempt', 'in_progress', 'complete', 'completed'), ('attempt', 'failed', 'complete', 'completed'),
    ('attempt', 'pending', 'fail', 'failed'), ('attempt', 'in_progress', 'fail', 'failed'),
    ('attempt', 'pending', 'cancel', 'failed'), ('attempt', 'in_progress', 'cancel', 'failed'),
    ('attempt', 'awaiting_change_approval', 'cancel', 'failed'), ('attempt', 'in_progress', 'roll_back', 'rolled_back'),
    ('attempt', 'failed', 'roll_back', 'rolled_back'), ('attempt', 'pending', 'supersede', 'superseded'),
    ('attempt', 'in_progress', 'supersede', 'superseded'), ('attempt', 'awaiting_change_approval', 'supersede', 'superseded'),
    ('job', 'Pending', 'claim', 'Running'), ('job', 'Running', 'repeat', 'Pending'), ('job', 'Running', 'lose', 'Pending'),
    ('job', 'AwaitingApproval', 'approve', 'Pending'), ('job', 'Running', 'await_csr', 'AwaitingCSR'),
    ('job', 'AwaitingCSR', 'receive_csr', 'Pending'), ('job', 'Running', 'finish', 'Completed'),
    ('job', 'Running', 'fail', 'Failed'), ('job', 'Pending', 'cancel', 'Cancelled'), ('job', 'AwaitingCSR', 'cancel', 'Cancelled'),
    ('job', 'AwaitingApproval', 'cancel', 'Cancelled'), ('job', 'Running', 'cancel', 'Cancelled');

-- Of a trigger: the machine and the column that holds the state.
CREATE FUNCTION check_transition() RETURNS trigger LANGUAGE plpgsql AS
$$
DECLARE
    before text := to_jsonb(OLD) ->> TG_ARGV[1];
    after  text := to_jsonb(NEW) ->> TG_ARGV[1];
BEGIN
    IF NOT EXISTS (SELECT FROM transitions t WHERE t.machine = TG_ARGV[0] AND t.source = before AND t.target = after) THEN
        RAISE EXCEPTION USING ERRCODE = 'CT409', MESSAGE = format('%s %s is %s: it cannot become %s', TG_ARGV[0], OLD.id, before, after);
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER transition BEFORE UPDATE ON managed_certificates FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION check_transition('certificate', 'status');
CREATE TRIGGER transition BEFORE UPDATE ON orders FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION check_transition('order', 'state');
CREATE TRIGGER transition BEFORE UPDATE ON renewal_attempts FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION check_transition('attempt', 'status');
CREATE TRIGGER transition BEFORE UPDATE ON jobs FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION check_transition('job', 'status');

-- A job ends by moving to job_history: the states there are the last ones.
ALTER TABLE job_history ADD CONSTRAINT job_end CHECK (status IN ('Completed', 'Failed', 'Cancelled'));

-- The row of job_history of a job that ends: the one place that knows its columns.
CREATE FUNCTION job_close(job jobs, p_status text, reason text) RETURNS job_history LANGUAGE plpgsql STABLE AS
$$
BEGIN
    IF NOT EXISTS (SELECT FROM transitions t WHERE t.machine = 'job' AND t.source = job.status AND t.target = p_status) THEN
        RAISE EXCEPTION USING ERRCODE = 'CT409', MESSAGE = format('job %s is %s: it cannot become %s', job.id, job.status, p_status);
    END IF;
    RETURN ROW(job.id, job.type, p_status, job.subject, job.certificate_id, job.target_id, job.agent_id, job.version_id, job.attempt_id,
               job.data, job.priority, job.attempts, job.max_attempts, coalesce(nullif(reason, ''), job.last_error), job.requested_by,
               job.epoch, job.worker, job.scheduled_at, job.started_at, job.created_at, now())::job_history;
END
$$;
