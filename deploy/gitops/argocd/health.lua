-- What Argo CD shows as the health of Rolecall's objects. One script serves all six kinds: argocd-cm.yaml says where it goes.

local status = obj.status or {}

local function condition(kind)
  for _, found in ipairs(status.conditions or {}) do
    if found.type == kind then return found end
  end
  return {}
end

local function health(name, message)
  return { status = name, message = message or "" }
end

local ready = condition("Ready")

-- What somebody decided stands; nothing becomes of it.
if obj.kind == "DatabaseSessionDecision" then
  return health("Healthy")
end

-- Access is being taken away; the message says what holds it.
if obj.metadata.deletionTimestamp ~= nil then
  return health("Progressing", ready.message or "Being deleted")
end
-- The operator has not seen this version of the object yet.
if status.observedGeneration == nil or status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "Waiting for the operator")
end
-- A session with a ttl that is over: nothing is wrong, and nothing is to be done.
if status.phase == "Ended" then
  return health("Healthy", "Ended: " .. (status.endReason or ""))
end
if status.phase == "Rejected" then
  return health("Degraded", ready.message)
end
if (obj.kind == "DatabaseAdmin" or obj.kind == "DatabaseUser") and (obj.spec or {}).suspend == true then
  return health("Suspended", ready.message)
end
if condition("Stalled").status == "True" then
  return health("Degraded", condition("Stalled").message)
end
if ready.status == "True" then
  return health("Healthy", ready.message)
end
return health("Progressing", ready.message)
