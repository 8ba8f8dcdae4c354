-- For wrk: sixteen requests in one write.
init = function(args)
  local requests = {}
  for number = 1, 16 do
    requests[number] = wrk.format("GET", nil)
  end
  together = table.concat(requests)
end

request = function()
  return together
end
