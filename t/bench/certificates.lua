-- How a careful operator swaps certificates with Debian's lua module: PEM in
-- shared memory, and what it parses to kept in a table of each worker.

local ssl = require "ngx.ssl"

local _M = { folder = "" }      -- where a name's first certificate lies

local pems = ngx.shared.pems
local versions = ngx.shared.versions
local parsed = {}


local function parse(pem)
    local cert, key, err

    cert, err = ssl.parse_pem_cert(pem)
    if not cert then
        return nil, err
    end

    key, err = ssl.parse_pem_priv_key(pem)
    if not key then
        return nil, err
    end

    return { cert = cert, key = key }
end


local function read(name)
    local file = io.open(_M.folder .. name .. ".pem")
    local pem = file and file:read("*a")

    if file then
        file:close()
    end

    return pem
end


-- The version is read before the PEM: at worst the next handshake parses again.
local function current(name)
    local version = versions:get(name) or 0
    local one = parsed[name]
    local pem, err

    if one and one.version == version then
        return one
    end

    pem = pems:get(name) or read(name)
    if not pem then
        return nil, "unknown name"
    end

    one, err = parse(pem)
    if not one then
        return nil, err
    end

    one.version = version
    parsed[name] = one
    return one
end


function _M.serve()
    local name = ssl.server_name()
    local one, err

    if not name then
        return
    end

    one, err = current(name)
    if not one then
        ngx.log(ngx.ERR, name, ": ", err)
        return
    end

    ssl.clear_certs()
    assert(ssl.set_cert(one.cert))
    assert(ssl.set_priv_key(one.key))
end


-- PUT /name, its body certificates and key
function _M.put()
    local name = ngx.var.uri:sub(2)
    local pem

    ngx.req.read_body()
    pem = ngx.req.get_body_data()

    if not pem or not parse(pem) then
        return ngx.exit(400)
    end

    assert(pems:set(name, pem))
    assert(versions:incr(name, 1, 0))
    return ngx.exit(204)
end


return _M
