//! Putting the functions on every primary, as an operator's act. Replicas get them by replication.

use futures_util::future::join_all;

use crate::domain::store::StoreError;
use crate::remote::library::Loaded;
use crate::remote::store::Remote;

/// What became of one primary.
pub struct Installed {
    /// Its address, for people.
    pub node: String,
    pub result: Result<Loaded, StoreError>,
}

impl Remote {
    /// Loads them wherever they are missing; and whether that was at the owners of all slots.
    pub async fn install_functions(&self) -> (Vec<Installed>, bool) {
        let (owners, is_whole) = self.topology.owners();
        let installed = join_all(owners.into_iter().map(|node| async move {
            let result = match node.link().await {
                Ok(link) => self.functions.load(&node, &link).await,
                Err(error) => Err(error),
            };
            Installed { node: node.address.to_string(), result }
        }));
        (installed.await, is_whole)
    }
}
