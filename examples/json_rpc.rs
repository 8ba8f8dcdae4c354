//! JSON-RPC 2.0 over HTTP: calls, notifications and batches, with its errors in their places. Needs `httpserver`'s feature `json`.
//!
//! Run it:            cargo run --release --example json_rpc [-- --port N]
//! In another shell:  curl --json '{"jsonrpc":"2.0","method":"sum","params":[1,2,39],"id":1}' http://127.0.0.1:8888/
//!                    curl --json '[{"jsonrpc":"2.0","method":"upper","params":["hi"],"id":"a"},{"jsonrpc":"2.0","method":"no","id":2}]' …

use std::error::Error;
use std::time::Duration;

use http::{Method, StatusCode};
use httpserver::{BodyError, HttpError, HttpOptions, HttpServer, Request, Response};
use serde::Deserialize;
use serde_json::{Value, json};

/// Code and message, as the specification has them.
type Fault = (i32, &'static str);
const PARSE_ERROR: Fault = (-32700, "Parse error");
const INVALID_REQUEST: Fault = (-32600, "Invalid Request");
const METHOD_NOT_FOUND: Fault = (-32601, "Method not found");
const INVALID_PARAMS: Fault = (-32602, "Invalid params");

#[derive(Deserialize)]
struct Call {
    jsonrpc: String,
    method: String,
    #[serde(default)]
    params: Value,
    /// None in a notification, which is not answered.
    #[serde(default, deserialize_with = "present")]
    id: Option<Value>,
}

/// `null` is an id too; nothing else is but text and numbers.
fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    let id = Value::deserialize(value)?;
    let is_id = id.is_null() || id.is_string() || id.is_number();
    if is_id { Ok(Some(id)) } else { Err(serde::de::Error::custom("no id")) }
}

/// What can be called.
fn call(method: &str, params: Value) -> Result<Value, Fault> {
    fn of<T: serde::de::DeserializeOwned>(params: Value) -> Result<T, Fault> {
        serde_json::from_value(params).map_err(|_| INVALID_PARAMS)
    }
    match method {
        "sum" => Ok(of::<Vec<f64>>(params)?.iter().sum::<f64>().into()),
        "upper" => Ok(of::<[String; 1]>(params)?[0].to_uppercase().into()),
        _ => Err(METHOD_NOT_FOUND),
    }
}

fn failed((code, message): Fault, id: Value) -> Value {
    json!({ "jsonrpc": "2.0", "error": { "code": code, "message": message }, "id": id })
}

fn answer_one(request: Value) -> Option<Value> {
    let Some(request) = serde_json::from_value::<Call>(request).ok().filter(|call| call.jsonrpc == "2.0")
    else {
        return Some(failed(INVALID_REQUEST, Value::Null));
    };
    let result = call(&request.method, request.params);
    let id = request.id?;
    Some(result.map_or_else(
        |fault| failed(fault, id.clone()),
        |result| json!({ "jsonrpc": "2.0", "result": result, "id": id }),
    ))
}

fn answer_all(request: Value) -> Option<Value> {
    match request {
        Value::Array(calls) if calls.is_empty() => Some(failed(INVALID_REQUEST, Value::Null)),
        Value::Array(calls) => {
            let answers: Vec<_> = calls.into_iter().filter_map(answer_one).collect();
            (!answers.is_empty()).then_some(Value::Array(answers))
        }
        one => answer_one(one),
    }
}

async fn rpc(request: Request) -> Result<Response, HttpError> {
    if *request.method() != Method::POST {
        return Ok(Response::new(StatusCode::METHOD_NOT_ALLOWED).header("Allow", "POST")?);
    }
    let answer = match request.json() {
        Ok(calls) => answer_all(calls),
        Err(BodyError::Json { .. }) => Some(failed(PARSE_ERROR, Value::Null)),
        Err(error) => return Err(error.into()), // 415 for another type
    };
    answer.map_or(Ok(Response::new(StatusCode::NO_CONTENT)), |answer| Response::json(&answer))
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = examples::Flags::parse("json_rpc [--port N]", &["--port"]);
    examples::log_to_stderr();
    let server = HttpServer::new(rpc).options(HttpOptions::new().max_body_size(1 << 20));
    examples::announce(&server.listen(flags.value("--port").unwrap_or(8888))?)?;
    server.run_until_signal(Duration::from_secs(10))?;
    Ok(())
}
