-- Keys that the provider makes for itself. keys: sealed for deployment_keys/NAME.
CREATE TABLE deployment_keys (
    name TEXT NOT NULL PRIMARY KEY,
    keys BYTES NOT NULL
);
