"""The frozen types that everything else makes or takes: `Fabric`, `RoutingTables`, `Flows` and the results."""
