//! A peer of the door below gRPC: it sends what no client library would.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use hydrant::tasks::Tasks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Status;
use tonic::codegen::http::{HeaderMap, Request};

pub const PREHYDRATE: &str = "/hydrant.v1.CacheControlService/Prehydrate";

/// An HTTP/2 connection whose requests the test writes itself.
pub struct Peer {
    requests: SendRequest<Bytes>,
    _tasks: Tasks,
}

/// A call whose body the test sends, or does not.
pub struct Call {
    pub body: h2::SendStream<Bytes>,
    answer: h2::client::ResponseFuture,
}

impl Peer {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.expect("the door is open")).await
    }

    pub async fn over<IO>(io: IO) -> Self
    where
        IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (requests, connection) = h2::client::handshake(io).await.expect("HTTP/2");
        let (tasks, _) = Tasks::new();
        tasks.until_stop(async { drop(connection.await) });
        Self { requests: requests.ready().await.expect("open"), _tasks: tasks }
    }

    pub async fn begin(&mut self, path: &str, authority: &str) -> Call {
        let request = Request::post(format!("http://{authority}{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .expect("a good request");
        let (answer, body) = self.requests.send_request(request, false).expect("sent");
        Call { body, answer }
    }

    /// A call with these bytes as its one message.
    pub async fn call(&mut self, path: &str, message: &[u8]) -> Status {
        let mut call = self.begin(path, "localhost").await;
        call.body.send_data(framed(message), true).expect("sent");
        call.status().await
    }
}

impl Call {
    /// The status, wherever it stands.
    pub async fn status(self) -> Status {
        let (head, mut body) = self.answer.await.expect("an answer").into_parts();
        if let Some(status) = Status::from_header_map(&head.headers) {
            return status;
        }
        while let Some(data) = body.data().await {
            let data = data.expect("a whole body");
            body.flow_control().release_capacity(data.len()).expect("ours to release");
        }
        let trailers: HeaderMap = body.trailers().await.expect("a whole body").expect("trailers");
        Status::from_header_map(&trailers).expect("a status")
    }
}

/// A message as gRPC frames it.
pub fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    [&[0], &length[..], message].concat().into()
}

/// Sends raw bytes and reads until the other end closes.
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("the door is open");
    // The other end may close while we are still sending.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An HTTP/2 frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block that asks for a path, without compression.
pub fn headers(path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).expect("short");
    assert!(length < 127, "one byte of length");
    // :method POST, :scheme http, and :path as it is.
    [&[0x83, 0x86, 0x04, length], path.as_bytes()].concat()
}
