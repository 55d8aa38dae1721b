//! Where callers come in: a loopback TCP port and, where asked for, a Unix socket, and a port for callers from outside the
//! pod.
//!
//! A socket file that a dead process left is replaced; one that somebody answers on is not, nor is a file that is no
//! socket: the path may be a mistake, and what stands there somebody's data.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::grpc::Config;

/// Other containers of the pod run as other users; who may reach the file is decided by its directory.
const SOCKET_MODE: u32 = 0o666;

#[derive(Debug)]
pub struct Listeners {
    tcp: TcpListener,
    unix: Option<Unix>,
    remote: Option<TcpListener>,
}

/// A caller that has just come in.
#[derive(Debug)]
pub enum Incoming {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// From outside the pod; TLS has yet to begin.
    Remote(TcpStream),
}

/// Why the door cannot be opened; names the address or the path.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("cannot listen on {address}")]
    Tcp { address: SocketAddr, source: io::Error },
    #[error("cannot listen on the socket {path}")]
    Unix { path: PathBuf, source: io::Error },
    #[error("cannot listen on the socket {0}: its directory does not exist")]
    NoDirectory(PathBuf),
    #[error("cannot listen on the socket {0}: another process answers there")]
    InUse(PathBuf),
    #[error("cannot listen on the socket {0}: a file that is no socket stands there")]
    NotASocket(PathBuf),
}

#[derive(Debug)]
struct Unix {
    listener: UnixListener,
    _file: SocketFile,
}

/// The file of our listener; goes when the listener goes, if it is still ours.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Listeners {
    pub async fn bind(config: &Config) -> Result<Self, BindError> {
        let tcp = bound(config.api).await?;
        let remote = match &config.remote {
            Some(remote) => Some(bound(remote.address).await?),
            None => None,
        };
        let unix = match &config.socket {
            Some(path) => Some(Unix::bind(path)?),
            None => None,
        };
        Ok(Self { tcp, unix, remote })
    }

    /// The TCP address, with the port that was found free where the configuration says 0.
    pub fn api(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// The same of the port for callers from outside the pod, where there is one.
    pub fn remote(&self) -> io::Result<Option<SocketAddr>> {
        self.remote.as_ref().map(TcpListener::local_addr).transpose()
    }

    pub async fn accept(&self) -> io::Result<Incoming> {
        let unix = async {
            match &self.unix {
                Some(unix) => unix.listener.accept().await,
                None => std::future::pending().await,
            }
        };
        let remote = async {
            match &self.remote {
                Some(remote) => at_once(remote.accept().await?.0),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            accepted = self.tcp.accept() => at_once(accepted?.0).map(Incoming::Tcp),
            accepted = unix => Ok(Incoming::Unix(accepted?.0)),
            accepted = remote => accepted.map(Incoming::Remote),
        }
    }
}

async fn bound(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError::Tcp { address, source })
}

/// An answer is one small write: waiting for more to send along only delays it.
fn at_once(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Unix {
    fn bind(path: &Path) -> Result<Self, BindError> {
        if path.parent().is_some_and(|directory| !directory.as_os_str().is_empty() && !directory.is_dir()) {
            return Err(BindError::NoDirectory(path.to_owned()));
        }
        make_way(path)?;
        let failed = |source| BindError::Unix { path: path.to_owned(), source };
        let listener = UnixListener::bind(path).map_err(failed)?;
        let file = SocketFile::of(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
        Ok(Self { listener, _file: file })
    }
}

/// Removes what a dead process left at the path, and nothing else.
fn make_way(path: &Path) -> Result<(), BindError> {
    let failed = |source| BindError::Unix { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    // A Unix socket answers or refuses at once, so this does not block.
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed),
        Err(error) => Err(failed(error)),
        Ok(_) => Err(BindError::InUse(path.to_owned())),
    }
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = identity(&self.path).is_ok_and(|now| now == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, "the socket file could not be removed");
        }
    }
}

/// Device and inode: which file it is, whatever it is called.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::Limits;

    fn config(socket: PathBuf) -> Config {
        Config {
            api: SocketAddr::from(([127, 0, 0, 1], 0)),
            socket: Some(socket),
            remote: None,
            limits: Limits::default(),
            drain: std::time::Duration::ZERO,
        }
    }

    #[tokio::test]
    async fn anybody_in_the_pod_may_open_the_socket_and_it_goes_with_the_listener() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("api.sock");
        let listeners = Listeners::bind(&config(path.clone())).await.expect("free");
        assert_ne!(listeners.api().expect("bound").port(), 0);
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o666);
        drop(listeners);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_dead_processs_socket_is_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("api.sock");
        // Closing a listener leaves its file.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("free"));
        Listeners::bind(&config(path)).await.expect("replaced");
    }

    #[tokio::test]
    async fn a_living_processs_socket_is_not_taken() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("api.sock");
        let _living = std::os::unix::net::UnixListener::bind(&path).expect("free");
        let error = Listeners::bind(&config(path.clone())).await.expect_err("in use");
        assert!(matches!(error, BindError::InUse(_)), "{error}");
        assert!(path.exists());
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notes.txt");
        fs::write(&path, "precious").expect("writable");
        let error = Listeners::bind(&config(path.clone())).await.expect_err("not ours");
        assert!(matches!(error, BindError::NotASocket(_)), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("still there"), "precious");
    }

    #[tokio::test]
    async fn a_missing_directory_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let error = Listeners::bind(&config(directory.path().join("no/api.sock"))).await.expect_err("nowhere");
        assert!(matches!(error, BindError::NoDirectory(_)), "{error}");
    }

    #[tokio::test]
    async fn a_file_that_took_our_place_is_not_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("api.sock");
        let listeners = Listeners::bind(&config(path.clone())).await.expect("free");
        // Another process may have replaced us before we are gone.
        fs::rename(&path, directory.path().join("old.sock")).expect("movable");
        fs::write(&path, "").expect("writable");
        drop(listeners);
        assert!(path.exists());
    }
}
