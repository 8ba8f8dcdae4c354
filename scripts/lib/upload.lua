-- For wrk: uploads of 100 KiB, which come back.
wrk.method = "POST"
wrk.path = "/echo"
wrk.body = string.rep("x", 100 * 1024)
