use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use httpserver::{HttpOptions, HttpServer, IntoResponse, Method, Request, Response, StatusCode};

/// A loop is one thread, so what its handlers share needs no lock. Do not hold a borrow over an `.await`.
type Shelf = Rc<RefCell<HashMap<String, Vec<u8>>>>;

async fn answer(shelf: Shelf, request: Request) -> Response {
    let name = request.path().to_owned();
    match *request.method() {
        Method::PUT => {
            shelf.borrow_mut().insert(name, request.body().to_vec());
            StatusCode::CREATED.into_response()
        }
        Method::GET => match shelf.borrow().get(&name) {
            Some(thing) => Response::bytes(thing.clone()),
            None => (StatusCode::NOT_FOUND, "nothing here\n").into_response(),
        },
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shelf = Shelf::default();
    let server = HttpServer::new(move |request: Request| answer(Rc::clone(&shelf), request))
        .options(HttpOptions::new().max_body_size(1 << 20)); // beyond it the client gets a 413
    server.listen(8888)?;
    server.run_until_signal(Duration::from_secs(10))?; // SIGTERM: answers who has asked, then ends
    Ok(())
}
