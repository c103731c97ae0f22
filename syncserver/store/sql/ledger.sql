-- What the ledger keeps of a mutation that did not all land.

-- name: payload
SELECT payload FROM ledger WHERE tenant_id = $1 AND rid = $2 AND n = $3
